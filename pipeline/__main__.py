"""`python -m visunex.pipeline` is `visunex-data`."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="visunex-data")
