"""Property tests here touch files: no deadline per example, as a busy machine is not a fault."""

from hypothesis import settings

settings.register_profile("files", deadline=None)
settings.load_profile("files")
