"""`python -m visunex.generate` is `visunex-generate`."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="visunex-generate")
