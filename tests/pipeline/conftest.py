"""What the pipeline's tests share."""

import sys
from pathlib import Path

# Helpers beside the tests (hostile.py) are imported by their bare names.
sys.path.insert(0, str(Path(__file__).parent))
