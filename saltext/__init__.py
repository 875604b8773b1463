"""saltext: where do people look in an image after reading a sentence about it?"""

import os

# albumentations asks the package index for a newer version at each import; it must be told before that.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

__version__ = "0.1.0"
