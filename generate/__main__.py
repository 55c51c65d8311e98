"""`python -m visunex.generate` is `visunex-generate`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("visunex.generate.cli", run_name="__main__", alter_sys=True)
