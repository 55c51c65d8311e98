"""`python -m visunex.studio` is `visunex-studio`."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="visunex-studio")
