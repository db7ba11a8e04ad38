"""Files to arrays: pictures, sound and frames, read with a bounded amount of memory.

A source is a path, bytes or an open binary file. Every failure is an `encoder.errors.MediaError`
that names the file.
"""

from encoder.media.container import StreamFacts, probe
from encoder.media.image import ImageFacts, image_facts, load_image, rgb_array
from encoder.media.sound import load_sound, stream_sound
from encoder.media.source import Source
from encoder.media.video import load_clip, stream_frames

__all__ = [
    "ImageFacts",
    "Source",
    "StreamFacts",
    "image_facts",
    "load_clip",
    "load_image",
    "load_sound",
    "probe",
    "rgb_array",
    "stream_frames",
    "stream_sound",
]
