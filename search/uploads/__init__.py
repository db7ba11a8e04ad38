"""Files that came over the network: each store has its own folder."""

from search.uploads.folder import Keeper, Upload, UploadFolder, safe_name

__all__ = ["Keeper", "Upload", "UploadFolder", "safe_name"]
