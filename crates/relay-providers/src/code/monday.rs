//! monday.com: a token in `Authorization`, signed with a secret that both sides know.

use relay_core::time::Wall;
use serde_json::json as value;

use super::{first, is_signed, jwt, names, secrets, verdict};
use crate::{
    ByHead, DeliveryId, Draft, Exchange, Genuine, Handshake, Name, On, Parameter, Provider, Refusal, Request, Sample,
    SignError, Tries, Verdict,
    parameters::Parameters,
    proof::{Code, Proof},
    scheme::Algorithm,
    secret::Secret,
};

pub(super) const PROVIDER: Provider = Provider {
    name: "monday",
    title: "monday.com",
    parameters: &[
        Parameter::key(
            "signing_secret",
            "the app's signing secret, for app lifecycle events its client secret: monday.com, Developers, your app, \
             Basic Information. Signed are webhooks alone that an app of the Developer Center creates with its own token: those \
             made in a board or with a personal token are not, and are refused",
        )
        .not(&[("eyJ", "an API token")]),
        Parameter::required(
            "audience",
            "the URL as you gave it to monday.com, like https://relay.example.com/webhook/monday",
        ),
    ],
    handshakes: &[Handshake {
        method: "POST",
        on: &[On::JsonOnly("challenge")],
        signed: false,
        exchange: Exchange::EchoJson("challenge"),
    }],
    // Every minute.
    tries_for: Some(Tries::minutes(
        30,
        "https://developer.monday.com/apps/changelog/clarification-on-retry-policies-for-webhooks-and-custom-actions",
    )),
    delivery: DeliveryId::Json(&["event.triggerUuid"]),
    event: Name::Json("event.type"),
    order: Name::Json("event.pulseId"),
    docs: "https://developer.monday.com/api-reference/reference/webhooks",
    checked: "`authorization` is a JWT (HS256) made with `signing_secret`; its `aud` is `audience`, and it has not \
        expired.",
    unproven: "monday.com signs only webhooks that an app of its Developer Center created with its own token \
        (https://developer.monday.com/api-reference/changelog/webhooks-improvements). Those made in a board or with a personal \
        token carry no proof at all: the challenge is answered, and then each event is refused. An app's events may carry a \
        `shortLivedToken`, a credential for monday.com's API, which reaches the target as it came. The token says to whom it was sent, and until when it holds; the body is not covered. Whoever has seen one \
        request can send any body with its token until then.",
    sample: Sample::json(include_str!("../../samples/monday.json")),
    proof: Proof::Code(|parameters| Box::new(Monday::read(parameters))),
    ..Provider::BASE
};

const HS256: &str = "HS256";
const UNSIGNED: &str = "no authorization header field: monday.com signs only webhooks that an app created with its own token, not \
    those made in a board or with a personal token";

#[derive(Clone, Debug)]
struct Monday {
    secrets: Vec<Secret>,
    audience: String,
}

impl Monday {
    fn read(parameters: &mut Parameters<'_>) -> Self {
        let audience = parameters.one("audience").to_owned();
        Self { secrets: secrets(parameters, "signing_secret"), audience }
    }

    fn check(&self, request: &Request<'_>) -> Result<Genuine, Refusal> {
        let presented = jwt::presented(request).map_err(|refusal| match refusal.check {
            "missing_token" => Refusal::new(refusal.check, UNSIGNED),
            _ => refusal,
        })?;
        let token = jwt::Token::read(presented, HS256)?;
        if !is_signed(Algorithm::HmacSha256, &self.secrets, &[token.message], &token.signature) {
            let detail = "the token's signature is not one with this source's secret";
            return Err(Refusal::new("bad_signature", detail));
        }
        token.check_times(request.now)?;
        token.check_audience(&self.audience)?;
        Ok(Genuine::default())
    }
}

impl Code for Monday {
    fn judge(&self, request: &Request<'_>) -> Verdict {
        verdict(self.check(request))
    }

    /// Nothing of the proof is in the body.
    fn judge_head(&self, request: &Request<'_>) -> ByHead {
        self.judge(request).into()
    }

    fn sign(&self, mut draft: Draft, _: &str, now: Wall) -> Result<Draft, SignError> {
        let key = first(&self.secrets)?;
        let seconds = now.as_micros().div_euclid(1_000_000);
        let head = value!({"alg": HS256, "typ": "JWT"});
        let claims = value!({
            "accountId": 1_825_529, "userId": 4_012_689, "aud": self.audience, "exp": seconds + 300, "iat": seconds,
        });
        let token = jwt::make(&head, &claims, |message| Ok(Algorithm::HmacSha256.mac(key, &[message])))?;
        draft.set_header("authorization", token);
        Ok(draft)
    }

    fn reads(&self) -> Vec<String> {
        names(&["authorization"])
    }
}
