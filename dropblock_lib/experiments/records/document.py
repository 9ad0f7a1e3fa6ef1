"""JSON files that hold what their reader expects, or are refused by name."""

import json
from pathlib import Path


def read_json(path: Path, what: str, error: type[ValueError]):
    """What a JSON file holds.

    Args:
        path: The file.
        what: What it should be, such as `"record"`.
        error: Raised if it is not JSON; the message names the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as reason:
        raise error(f"{path} is not a {what}: it is not JSON ({reason}).") from None


def check_sections(document, schema: int, sections: dict, name: str, refuse) -> None:
    """Check the outline of a document: its schema, its sections and its name.

    Args:
        document: What the file holds.
        schema: The version of the layout that is understood.
        sections: Key -> type, or tuple of types.
        name: The name that the document must have: that of its file.
        refuse: Called with what is wrong; raises.
    """
    if not isinstance(document, dict):
        refuse("it is not a JSON object")
    if document.get("schema") != schema:
        refuse(f"expected schema {schema}, found {document.get('schema')!r}")
    for section, kind in sections.items():
        if section not in document:
            refuse(f"`{section}` is missing")
        if not isinstance(document[section], kind):
            refuse(f"`{section}` is {document[section]!r}")
    if document["name"] != name:
        refuse(f"it holds {document['name']!r}")
