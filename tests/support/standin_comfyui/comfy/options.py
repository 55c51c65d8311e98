"""ComfyUI's command line, of which there is none here."""


def enable_args_parsing(enable: bool = True) -> None:
    """Nothing is parsed."""
