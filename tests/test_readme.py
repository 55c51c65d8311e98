"""The README's table of recipe keys is the schema's. Run this file to bring it up to date."""

import re
from pathlib import Path

from visunex.recipes.describe import schema_table

README = Path(__file__).parents[1] / "README.md"
TABLE = re.compile(r"(?<=<!-- recipe keys -->\n).*?(?=<!-- /recipe keys -->)", re.DOTALL)


def test_the_table_of_recipe_keys_is_the_schemas() -> None:
    assert TABLE.findall(README.read_text()) == [schema_table()], "run `make readme`"


if __name__ == "__main__":
    README.write_text(TABLE.sub(lambda _: schema_table(), README.read_text()))
