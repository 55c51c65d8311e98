"""`python -m visunex.pipeline.cli` is `visunex-data`."""

from . import main

if __name__ == "__main__":
    main(prog_name="visunex-data")
