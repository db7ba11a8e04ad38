"""The store on Milvus: a server, or Milvus Lite inside this process."""
