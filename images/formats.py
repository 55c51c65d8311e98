"""Which files are images, told by Pillow's names of formats, by their own names and their first bytes."""

__all__ = ["FORMATS", "MAGIC", "SUFFIX", "SUFFIXES"]

# Raster formats that CLIP preprocessing reads everywhere. Not EPS (runs Ghostscript), not PSD, not FITS.
FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "TIFF",
    "AVIF",
    "MPO",
    "JPEG2000",
    "ICO",
    "PPM",
    "TGA",
    "HEIF",
)
# What follows the last dot of their files' names, in lower case.
_SUFFIXES = "jpg jpeg jpe jfif png webp gif bmp tif tiff avif ppm pgm pbm tga jp2 ico mpo heic heif"
SUFFIXES = frozenset(_SUFFIXES.split())
# The ending of a file of each format.
_OTHERS = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif", "JPEG2000": "jp2", "HEIF": "heic"}
SUFFIX = {name: _OTHERS.get(name, name.lower()) for name in FORMATS}
MAGIC = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n",
    b"GIF8",
    b"RIFF",
    b"II*\0",
    b"MM\0*",
)  # the first bytes of the most common ones
