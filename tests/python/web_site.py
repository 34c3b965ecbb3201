"""A web.py application."""

import web

urls = ("/", "Page", "/boom", "Boom", "/upload", "Upload", "/stream", "Stream")


class Page:
    def GET(self):
        return f"Hello, {web.input(name='world').name}"


class Boom:
    def GET(self):
        raise RuntimeError("as asked")


class Upload:
    def POST(self):
        form = web.input(file={})
        web.header("Content-Type", "application/json")
        return web.safestr(
            '{"name": "%s", "bytes": %d, "field": "%s"}'
            % (form.file.filename, len(form.file.file.read()), form.field)
        )


class Stream:
    def GET(self):
        web.header("Content-Type", "text/plain")
        for number in range(3):
            yield f"{number}\n"


application = web.application(urls, globals()).wsgifunc()
