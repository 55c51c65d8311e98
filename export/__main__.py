"""`python -m visunex.export` is `visunex-export`."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="visunex-export")
