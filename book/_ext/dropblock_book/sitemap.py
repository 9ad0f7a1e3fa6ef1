"""Tells search engines which pages there are."""

from pathlib import Path
from xml.sax.saxutils import escape


def write_sitemap(app, exception):
    if exception or app.builder.format != "html":
        return
    base = app.config.html_baseurl
    lines = [
        f"  <url><loc>{escape(f'{base}{app.builder.get_target_uri(name)}')}</loc></url>"
        for name in sorted(app.env.found_docs)
    ]
    namespace = "http://www.sitemaps.org/schemas/sitemap/0.9"
    (Path(app.outdir) / "sitemap.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<urlset xmlns="{namespace}">\n' + "\n".join(lines) + "\n</urlset>\n"
    )


def setup(app):
    app.connect("build-finished", write_sitemap)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
