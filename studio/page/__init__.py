"""What is seen of the studio: the web page, its parts and its looks, over the functions beside this folder.

Serves the page to this machine alone unless told otherwise; the browser itself refuses whatever would leave
it. May import the rest of `studio`; only the command line imports it.
"""
