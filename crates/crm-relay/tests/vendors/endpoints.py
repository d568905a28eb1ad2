"""Local endpoints that the platforms' own libraries guard: one HTTP server per library, each on a port of its own.

A request to /sign is answered with the header fields that the library gives it, where the library can sign. Any other
request is verified with the function the vendor documents: 200 or 401, and a line on stdout says what was found. The
first line tells the ports. Secrets come as JSON in the variable SECRETS.
"""

import datetime
import http.server
import json
import os
import threading
import time
import urllib.parse

import slack_sdk.signature
import standardwebhooks
import stripe
import svix.webhooks
import twilio.request_validator

SECRETS = json.loads(os.environ["SECRETS"])


class Request:
    """What a library is asked about."""

    def __init__(self, body, headers):
        self.body = body
        self.text = body.decode()
        self.headers = {name.lower(): value for name, value in headers.items()}
        # What the platform signed is the relay's address, not the one this server has.
        self.url = self.headers.get("relay-original-url")
        self.id = self.headers.get("x-id")
        self.form = {}
        if self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            self.form = Form(urllib.parse.parse_qs(self.text, keep_blank_values=True))


class Form(dict):
    """A form's fields with all their values, as web frameworks have them."""

    def getall(self, name):
        return self[name]


class Slack:
    verifier = slack_sdk.signature.SignatureVerifier(SECRETS["slack"])

    def sign(self, request):
        now = str(int(time.time()))
        signature = self.verifier.generate_signature(timestamp=now, body=request.body)
        return {"x-slack-request-timestamp": now, "x-slack-signature": signature}

    def verify(self, request):
        if not self.verifier.is_valid_request(request.body, request.headers):
            raise ValueError("the signature is not valid")
        return json.loads(request.body)


class StandardWebhooks:
    family = "webhook"
    webhook = standardwebhooks.Webhook(SECRETS["standardwebhooks"])

    def sign(self, request):
        now = datetime.datetime.now(datetime.timezone.utc)
        return {
            f"{self.family}-id": request.id,
            f"{self.family}-timestamp": str(int(now.timestamp())),
            f"{self.family}-signature": self.webhook.sign(request.id, now, request.text),
        }

    def verify(self, request):
        self.webhook.verify(request.body, request.headers)
        return json.loads(request.body)


class Svix(StandardWebhooks):
    family = "svix"
    webhook = svix.webhooks.Webhook(SECRETS["svix"])


class Stripe:
    def verify(self, request):
        signature = request.headers.get("stripe-signature")
        return stripe.Webhook.construct_event(request.body, signature, SECRETS["stripe"]).to_dict()


class Twilio:
    validator = twilio.request_validator.RequestValidator(SECRETS["twilio"])

    def sign(self, request):
        return {"x-twilio-signature": self.validator.compute_signature(request.url, request.form)}

    def verify(self, request):
        signature = request.headers.get("x-twilio-signature", "")
        if not self.validator.validate(request.url, request.form or request.text, signature):
            raise ValueError("the signature is not valid")
        return request.form or json.loads(request.body)


LIBRARIES = {
    "slack": Slack(),
    "standardwebhooks": StandardWebhooks(),
    "stripe": Stripe(),
    "svix": Svix(),
    "twilio": Twilio(),
}


def say(line):
    # One write, so that lines of several servers do not mix.
    os.write(1, (json.dumps(line, default=str) + "\n").encode())


def handler(name, library):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            request = Request(self.rfile.read(int(self.headers["content-length"])), self.headers)
            if self.path == "/sign":
                self.answer(200, json.dumps(library.sign(request)).encode())
                return
            verdict = {"library": name, "source": request.headers.get("relay-source")}
            try:
                verdict |= {"found": library.verify(request), "status": 200}
            except Exception as error:  # each library has its own
                verdict |= {"error": repr(error), "status": 401}
            say(verdict)
            self.answer(verdict["status"], b"")

        def answer(self, status, body):
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


ports = {}
for name, library in LIBRARIES.items():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(name, library))
    threading.Thread(target=server.serve_forever).start()
    ports[name] = {"port": server.server_address[1], "signs": hasattr(library, "sign")}
say({"ports": ports})
