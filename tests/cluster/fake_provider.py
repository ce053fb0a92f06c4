"""A provider of hosted models on loopback that misbehaves on request: what a prompt contains says how.

  [drop]       the connection is closed without an answer, the first time
  [always-500] each time an error of the server
  [malformed]  broken JSON, the first time; [always-malformed] each time
  [refuse]     400
  [slow]       the answer waits until `release` is set
The key must be in `keys`. With `per_second` set it takes that many requests a second, answers 429 to the rest and says so in headers.
"""
import collections
import http.server
import json
import threading
import time


class FakeProvider:
    def __init__(self, keys=("good-key",), per_second=None):
        self.keys, self.per_second = keys, per_second
        self.requests, self.seen = [], collections.Counter()
        self.flying = self.most_flying = self.refused = 0
        self.release = threading.Event()
        self.gather = None  # a barrier that requests wait at
        self.window = collections.deque()
        self.lock = threading.Lock()
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def do_POST(self):
                provider.handle(self)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request, client_address):
                pass  # clients that go away are part of the tests

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()

    @staticmethod
    def send(handler, status, body, headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    def handle(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            self.flying += 1
            self.most_flying = max(self.most_flying, self.flying)
        try:
            self.answer(handler, body, body["messages"][-1]["content"])
        finally:
            with self.lock:
                self.flying -= 1

    def limited(self):
        with self.lock:
            now = time.monotonic()
            while self.window and self.window[0] < now - 1:
                self.window.popleft()
            if len(self.window) >= self.per_second:
                self.refused += 1
                return True
            self.window.append(now)
            return False

    def answer(self, handler, body, text):
        key = handler.headers.get("Authorization", "").removeprefix("Bearer ")
        with self.lock:
            self.requests.append({"path": handler.path, "key": key, **body})
            self.seen[text] += 1
            first = self.seen[text] == 1
        if key not in self.keys:
            self.send(handler, 401, {"error": {"message": f"Incorrect API key provided: {key}", "code": "invalid_api_key"}})
        elif self.per_second and self.limited():
            self.send(handler, 429, {"error": {"message": "Rate limit reached"}},
                      [("Retry-After", "1"), ("x-ratelimit-limit-requests", str(self.per_second)), ("x-ratelimit-remaining-requests", "0"),
                       ("x-ratelimit-reset-requests", "1s")])
        elif "[drop]" in text and first:
            handler.close_connection = True
            handler.connection.shutdown(2)
        elif "[always-500]" in text:
            self.send(handler, 500, {"error": {"message": "the server is on fire"}})
        elif "[always-malformed]" in text or ("[malformed]" in text and first):
            self.send(handler, 200, b'{"choices": [{"mess')
        elif "[refuse]" in text:
            self.send(handler, 400, {"error": {"message": "this prompt is too long"}})
        else:
            if "[slow]" in text:
                self.release.wait(60)
            if self.gather:
                self.gather.wait(60)
            words = text.split()
            self.send(handler, 200, {"choices": [{"message": {"role": "assistant", "content": " ".join(words[:5])}, "finish_reason": "stop"}],
                                     "usage": {"prompt_tokens": len(words), "completion_tokens": 5}})
