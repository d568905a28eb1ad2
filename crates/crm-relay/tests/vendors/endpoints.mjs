// Local endpoints that the platforms' own libraries guard: one HTTP server per library, each on a port of its own.
//
// A request to /sign is answered with the header fields that the library gives it, where the library can sign. Any other
// request is verified with the function the vendor documents: 200 or 401, and a line on stdout says what was found. The
// first line tells the ports. Secrets come as JSON in the variable SECRETS.

import { webcrypto } from "node:crypto";
import { createServer } from "node:http";
import { Webhooks as Octokit } from "@octokit/webhooks";
import "@shopify/shopify-api/adapters/node";
import { ApiVersion, LogSeverity, shopifyApi } from "@shopify/shopify-api";
import slack from "@slack/bolt";
import { Webhook as StandardWebhook } from "standardwebhooks";
import Stripe from "stripe";
import { Webhook as SvixWebhook } from "svix";
import twilio from "twilio";

// Node 18, which Debian 12 has, keeps it in a module only.
globalThis.crypto ??= webcrypto;

const secrets = JSON.parse(process.env.SECRETS);
const stripe = new Stripe("sk_test_of_nobody");
const shopify = shopifyApi({
  apiKey: "key",
  apiSecretKey: secrets.shopify,
  apiVersion: ApiVersion.October25,
  hostName: "app.example.com",
  isEmbeddedApp: false,
  logger: { level: LogSeverity.Error },
});

/** Each gives what it read out of a genuine request, and throws at any other. */
const libraries = {
  octokit: {
    sign: async ({ text }) => ({
      "x-hub-signature-256": await new Octokit({ secret: secrets.octokit }).sign(text),
    }),
    verify: async ({ text, headers }) => {
      const webhooks = new Octokit({ secret: secrets.octokit });
      let found;
      webhooks.onAny(({ payload }) => (found = payload));
      await webhooks.verifyAndReceive({
        id: headers["x-github-delivery"],
        name: headers["x-github-event"],
        signature: headers["x-hub-signature-256"],
        payload: text,
      });
      return found;
    },
  },
  shopify: {
    verify: async ({ text, rawRequest, rawResponse }) => {
      const checked = await shopify.webhooks.validate({ rawBody: text, rawRequest, rawResponse });
      if (!checked.valid) throw new Error(checked.reason);
      return { topic: checked.topic, ...JSON.parse(text) };
    },
  },
  slack: {
    verify: ({ text, headers }) => {
      slack.verifySlackRequest({ signingSecret: secrets.slack, body: text, headers });
      return JSON.parse(text);
    },
  },
  standardwebhooks: {
    sign: ({ text, id }) => {
      const now = new Date();
      const signature = new StandardWebhook(secrets.standardwebhooks).sign(id, now, text);
      return { "webhook-id": id, "webhook-timestamp": seconds(now), "webhook-signature": signature };
    },
    verify: ({ body, headers }) => new StandardWebhook(secrets.standardwebhooks).verify(body, headers),
  },
  stripe: {
    sign: ({ text }) => ({
      "stripe-signature": stripe.webhooks.generateTestHeaderString({ payload: text, secret: secrets.stripe }),
    }),
    verify: ({ body, headers }) =>
      stripe.webhooks.constructEvent(body, headers["stripe-signature"], secrets.stripe),
  },
  svix: {
    sign: ({ text, id }) => {
      const now = new Date();
      const signature = new SvixWebhook(secrets.svix).sign(id, now, text);
      return { "svix-id": id, "svix-timestamp": seconds(now), "svix-signature": signature };
    },
    verify: ({ body, headers }) => new SvixWebhook(secrets.svix).verify(body, headers),
  },
  twilio: {
    sign: ({ url, parameters }) => ({
      "x-twilio-signature": twilio.getExpectedTwilioSignature(secrets.twilio, url, parameters),
    }),
    verify: ({ url, text, headers, parameters }) => {
      const signature = headers["x-twilio-signature"];
      const isGenuine = new URL(url).searchParams.has("bodySHA256")
        ? twilio.validateRequestWithBody(secrets.twilio, signature, url, text)
        : twilio.validateRequest(secrets.twilio, signature, url, parameters);
      if (!isGenuine) throw new Error("the signature is not valid");
      return Object.keys(parameters).length > 0 ? parameters : JSON.parse(text);
    },
  },
};

const ports = {};
for (const [name, library] of Object.entries(libraries)) {
  const server = createServer((rawRequest, rawResponse) => answer(name, library, rawRequest, rawResponse));
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  ports[name] = { port: server.address().port, signs: "sign" in library };
}
console.log(JSON.stringify({ ports }));

async function answer(name, library, rawRequest, rawResponse) {
  const pieces = [];
  for await (const piece of rawRequest) pieces.push(piece);
  const body = Buffer.concat(pieces);
  const { headers } = rawRequest;
  const form = headers["content-type"]?.startsWith("application/x-www-form-urlencoded");
  const request = {
    body,
    text: body.toString(),
    headers,
    id: headers["x-id"],
    // What the platform signed is the relay's address, not the one this server has.
    url: headers["relay-original-url"],
    parameters: form ? repeated(new URLSearchParams(body.toString())) : {},
    rawRequest,
    rawResponse,
  };
  if (rawRequest.url === "/sign") {
    rawResponse.end(JSON.stringify(await library.sign(request)));
    return;
  }
  const verdict = { library: name, source: headers["relay-source"] };
  try {
    verdict.found = await library.verify(request);
    verdict.status = 200;
  } catch (error) {
    verdict.error = String(error);
    verdict.status = 401;
  }
  console.log(JSON.stringify(verdict));
  rawResponse.writeHead(verdict.status).end();
}

/** A form's fields; one that is repeated has all its values. */
function repeated(form) {
  const entry = (name) => [name, form.getAll(name).length > 1 ? form.getAll(name) : form.get(name)];
  return Object.fromEntries([...form.keys()].map(entry));
}

function seconds(date) {
  return String(Math.floor(date.getTime() / 1000));
}
