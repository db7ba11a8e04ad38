"""Files that came over the network: each store has its own folder."""

from search.api.uploads.folder import Upload, UploadFolder, safe_name

__all__ = ["Upload", "UploadFolder", "safe_name"]
