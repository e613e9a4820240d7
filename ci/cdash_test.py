#!/usr/bin/env python3
"""Does ci/cdash.cmake submit what CDash wants? It is run on a tree of two tests against a server on this
machine that keeps what it is sent.

usage: ci/cdash_test.py WORKDIR    (is emptied)
"""
import http.server, os, shutil, subprocess, sys, threading, urllib.parse, xml.etree.ElementTree as xml

HERE = os.path.dirname(os.path.abspath(__file__))
LISTS = """cmake_minimum_required(VERSION 3.25)
project(tiny NONE)
include(CTest)
add_test(NAME good COMMAND ${CMAKE_COMMAND} -E true)
add_test(NAME other COMMAND ${CMAKE_COMMAND} -E %s)
set_tests_properties(good PROPERTIES LABELS quick)
file(WRITE ${CMAKE_BINARY_DIR}/report/report.json "{}")
"""
PRESETS = """{"version": 6, "configurePresets": [
  {"name": "default", "generator": "Ninja", "binaryDir": "${sourceDir}/build/${presetName}"}]}"""


class Server(http.server.BaseHTTPRequestHandler):
    got, refuse, tokens = {}, False, set()

    def do_PUT(self):
        size, chunked = int(self.headers.get("Content-Length") or 0), self.headers.get("Transfer-Encoding")
        body = self.rfile.read(size)
        while chunked and (n := int(self.rfile.readline(), 16)) + 1:
            body += self.rfile.read(n + 2)[:n]
            if not n:
                break
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        if not self.refuse:
            self.got[query["FileName"][0].rsplit("___", 1)[-1]] = (query["project"][0], body)
        self.tokens.add(self.headers.get("Authorization"))
        answer = b"<cdash version=\"3\"><status>OK</status><message></message></cdash>"
        self.send_response(403 if self.refuse else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_PUT

    def log_message(self, *_):
        pass


def tree(path, second):
    os.makedirs(os.path.join(path, "ci"))
    shutil.copy(os.path.join(HERE, "cdash.cmake"), os.path.join(path, "ci"))
    for name, text in ("CMakeLists.txt", LISTS % second), ("CMakePresets.json", PRESETS):
        with open(os.path.join(path, name), "w") as f:
            f.write(text)
    git = ["git", "-C", path, "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "all"], check=True)


def submit(path, url, *options):
    p = subprocess.run(["ctest", "-S", os.path.join(path, "ci/cdash.cmake"), *([f"-DURL={url}"] if url else []), *options],
                       capture_output=True, text=True, env={**os.environ, "CDASH_TOKEN": "a-token"})
    return p.returncode, p.stdout + p.stderr


def tests(body):
    return {t.find("Name").text: t.get("Status") for t in xml.fromstring(body).iter("Test") if t.find("Name") is not None}


def main():
    work = os.path.abspath(sys.argv[1])
    shutil.rmtree(work, ignore_errors=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/submit.php?project=Assay"
    good, bad = os.path.join(work, "good"), os.path.join(work, "bad")
    tree(good, "true")
    tree(bad, "false")

    code, said = submit(good, url)
    assert code == 0, said
    kinds = sorted(k for k in Server.got)
    for kind in "Update.xml", "Configure.xml", "Build.xml", "Test.xml", "Upload.xml", "Done.xml":
        assert kind in kinds, f"{kind} was not sent, but {kinds}"
    assert {project for project, _ in Server.got.values()} == {"Assay"} and Server.tokens == {"Bearer a-token"}, Server.tokens
    assert tests(Server.got["Test.xml"][1]) == {"good": "passed", "other": "passed"}
    site = xml.fromstring(Server.got["Test.xml"][1])
    assert site.get("BuildName").endswith("-default") and site.get("BuildStamp").endswith("-Experimental")
    assert b"report.json" in Server.got["Upload.xml"][1]

    Server.got.clear()
    code, said = submit(bad, url, "-DMODEL=Nightly")
    assert code != 0 and "failed: tests" in said, said
    assert tests(Server.got["Test.xml"][1]) == {"good": "passed", "other": "failed"}
    assert xml.fromstring(Server.got["Test.xml"][1]).get("BuildStamp").endswith("-Nightly")
    code, said = submit(bad, url, "-DLABEL=quick")
    assert code == 0 and tests(Server.got["Test.xml"][1]) == {"good": "passed"}, said
    Server.refuse = True
    code, said = submit(good, url)
    assert code != 0, said
    code, said = submit(good, "")
    assert code != 0 and "is missing: where to submit" in said, said
    print(f"submitted: {', '.join(kinds)}")


if __name__ == "__main__":
    main()
