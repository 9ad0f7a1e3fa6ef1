"""Shows a Keras layer's own arguments, which `Layer.__new__` hides from Sphinx."""

import inspect


def own_arguments(app, what, name, obj, options, signature, return_annotation):
    if what != "class":
        return None
    _self, *parameters = inspect.signature(obj.__init__).parameters.values()
    return str(inspect.Signature(parameters)), return_annotation


def setup(app):
    app.connect("autodoc-process-signature", own_arguments)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
