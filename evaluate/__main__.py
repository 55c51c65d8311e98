"""`python -m visunex.evaluate` is `visunex-evaluate`."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="visunex-evaluate")
