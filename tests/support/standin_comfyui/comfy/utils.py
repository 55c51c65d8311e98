"""Progress."""


class ProgressBar:
    def __init__(self, total: int) -> None:
        self.total, self.current = total, 0

    def update(self, value: int) -> None:
        self.current += value
