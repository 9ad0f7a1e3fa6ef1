"""Runs the notebooks that have changed two at a time, before Sphinx reads pages.

MyST-NB would run each while it reads its page, one after another. What it finds in
its cache it takes from there; what fails here it runs again, and reports.
"""

import concurrent.futures
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import single_nb_execution
from sphinx.util import logging

logger = logging.getLogger(__name__)

# A kernel that trains takes some 2 GiB, and computes on more than one core itself.
KERNELS = 2


def run_changed_notebooks(app, env, docnames):
    if app.config.nb_execution_mode != "cache":
        return
    cache = get_cache(app.config.nb_execution_cache_path)
    changed = {}
    for docname in docnames:
        path = Path(env.doc2path(docname))
        if path.suffix == ".ipynb":
            notebook = nbformat.read(path, as_version=4)
            if not _is_cached(cache, notebook):
                changed[path] = notebook
    if not changed:
        return
    logger.info("running %d notebooks, %d at a time", len(changed), KERNELS)
    with concurrent.futures.ThreadPoolExecutor(KERNELS) as pool:
        runs = {
            pool.submit(
                single_nb_execution,
                notebook,
                cwd=str(path.parent),
                timeout=app.config.nb_execution_timeout,
                allow_errors=False,
                meta_override=True,
            ): path
            # Later chapters train larger networks, and what takes longest goes first.
            for path, notebook in sorted(changed.items(), reverse=True)
        }
        # The cache's database has one writer: this thread.
        for done in concurrent.futures.as_completed(runs):
            path, result = runs[done], done.result()
            if result.err is not None:
                continue
            logger.info("%s ran in %.0f s", path.name, result.time)
            bundle = CacheBundleIn(
                changed[path], str(path), data={"execution_seconds": result.time}
            )
            cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def _is_cached(cache, notebook):
    try:
        cache.match_cache_notebook(notebook)
    except KeyError:
        return False
    return True


def setup(app):
    app.connect("env-before-read-docs", run_changed_notebooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
