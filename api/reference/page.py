"""`/docs`: the OpenAPI document as one plain HTML page.

Swagger UI and ReDoc load code from a content delivery network, but this service must work offline.
The page needs no script and no other request.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
code,pre{font:14px/1.4 ui-monospace,monospace;background:#f4f4f2}
pre{padding:.7rem;overflow-x:auto}
h2{margin-top:2.5rem}h3{margin:2rem 0 .3rem;font-size:1.05rem}
b.m{display:inline-block;min-width:3.5rem}
table{border-collapse:collapse;width:100%}
td{border-top:1px solid #ddd;padding:.3rem .6rem .3rem 0;vertical-align:top}
summary{cursor:pointer}
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}code,pre{background:#262626}
td{border-color:#444}a{color:#8ab4f8}}
"""


def docs_page(document: dict[str, Any]) -> str:
    """The whole page, from the OpenAPI document."""
    info = document["info"]
    by_tag: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = operation.get("tags", ["other"])[0]
            by_tag.setdefault(tag, []).append(_operation(method.upper(), path, operation))
    body = [f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>"]
    body.append(f"<p>{_text(info['description'])}</p>")
    body.append('<p><a href="/openapi.json">openapi.json</a></p>')
    for tag, parts in by_tag.items():
        body.append(f"<h2>{escape(tag)}</h2>{''.join(parts)}")
    body.append("<h2>schemas</h2>")
    for name, schema in document["components"]["schemas"].items():
        shown = escape(json.dumps(schema, indent=2))
        body.append(
            f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
            f"<pre>{shown}</pre></details>"
        )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style>{''.join(body)}</html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = [
        _row(f"{p['in']} <code>{escape(p['name'])}</code>", _text(p.get("description", "")))
        for p in operation.get("parameters", [])
    ]
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        rows.append(_row(f"body <code>{escape(media)}</code>", _schema_link(content)))
    for status, answer in operation["responses"].items():
        links = "".join(_schema_link(c) for c in answer.get("content", {}).values())
        rows.append(_row(f"answer {status}", f"{_text(answer['description'])} {links}"))
    return (
        f'<h3><b class="m">{method}</b> <code>{escape(path)}</code></h3>'
        f"<p>{_text(operation.get('description') or operation.get('summary', ''))}</p>"
        f"<table>{''.join(rows)}</table>"
    )


def _row(left: str, right: str) -> str:
    return f"<tr><td>{left}</td><td>{right}</td></tr>"


def _schema_link(content: dict[str, Any]) -> str:
    ref = content.get("schema", {}).get("$ref")
    if not ref:
        return ""
    name = escape(ref.rsplit("/", 1)[-1])
    return f'<a href="#{name}"><code>{name}</code></a>'


def _text(markdown: str) -> str:
    """Escaped text, with `code` spans."""
    parts = escape(markdown).split("`")
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts))
