"""Files that came over the network: each store has its own folder."""

from search.api.uploads.folder import Upload, UploadFolder, safe_name
from search.api.uploads.remote import RemoteUploads

__all__ = ["RemoteUploads", "Upload", "UploadFolder", "safe_name"]
