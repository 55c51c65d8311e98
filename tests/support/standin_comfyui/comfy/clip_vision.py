"""What an image encoder gives: a bag of tensors."""

from typing import Any


class Output:
    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)

    def __setitem__(self, key: str, item: Any) -> None:
        setattr(self, key, item)
