"""The store on Milvus: a server, or a FILE.db that Milvus Lite opens in this process."""
