//! Whether `PUBLIC_URL` leads to the server, from outside in.

use http::StatusCode;
use relay_core::name::Name;

use crate::{
    api::{CheckDto, Hop},
    reach::Reached,
    state::State,
};

/// Asks, and says what came of it.
pub(crate) async fn reached(state: &State) -> CheckDto {
    let Some(url) = &state.public_url else {
        let said = "PUBLIC_URL is not set, so that nobody can look from outside whether senders reach this server";
        let check = CheckDto::unknown(Hop::Server, PUBLIC_URL, said);
        return check.mended_by("set PUBLIC_URL to the address that senders use, as https://relay.example.com");
    };
    let source = state.registry.directory().sources.keys().next().cloned().unwrap_or_else(Name::fallback);
    let reached = state.reach.ask(url, &source, &state.own_requests, state.clock.present()).await;
    in_words(url, &reached)
}

const PUBLIC_URL: &str = "public_url";

fn in_words(url: &str, reached: &Reached) -> CheckDto {
    let wrong = |said: String| CheckDto::wrong(Hop::Server, PUBLIC_URL, said);
    let unknown = |said: String| CheckDto::unknown(Hop::Server, PUBLIC_URL, said);
    match reached {
        Reached::Here => CheckDto::ok(Hop::Server, PUBLIC_URL, format!("{url} leads to this server")),
        Reached::Elsewhere(StatusCode::MISDIRECTED_REQUEST) => {
            wrong(format!("{url} was answered 421: the name is none of ALLOWED_HOSTS"))
                .mended_by("add the host of PUBLIC_URL to ALLOWED_HOSTS, or have the proxy pass Host on as it came")
        }
        Reached::Elsewhere(status) if status.is_redirection() => {
            wrong(format!("{url} was answered {status}: senders follow no redirects"))
                .mended_by("set PUBLIC_URL to where it leads, and give platforms that URL")
        }
        Reached::Elsewhere(status @ (StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)) => {
            wrong(format!("{url} was answered {status}, by a proxy that does not reach this server"))
                .mended_by("look at the proxy's upstream: it is this server's public listener")
        }
        Reached::Elsewhere(status) => {
            wrong(format!("{url} leads elsewhere: it was answered {status}, and not by this server")).mended_by(
                "look where its name leads (DNS), and at the proxy there: paths below /webhook go to this server's public listener, \
                 with all header fields",
            )
        }
        Reached::Inside => unknown(format!(
            "{url} leads to an address of this network from here, which is none that senders have: it was not asked"
        ))
        .mended_by(format!("from outside: curl -i {url}/livez")),
        Reached::Silent => unknown(format!(
            "{url} did not answer this machine within 5 s; some networks lead nobody from inside to their own public address"
        ))
        .mended_by(format!("from outside: curl -i {url}/livez")),
        Reached::Unfit(why) => wrong(format!("{url} does not lead to this server as senders come: {why}"))
            .mended_by(format!("from outside: curl -i {url}/livez; then look at its certificate, and at the proxy there")),
        Reached::Unasked(why) => unknown(format!("{url} could not be asked from this machine: {why}"))
            .mended_by(format!("from outside: curl -i {url}/livez; if it does not answer there either: DNS and firewall")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Verdict;

    /// What only this machine cannot see is no fault.
    #[test]
    fn what_cannot_be_told_from_inside_is_not_called_wrong() {
        let verdict = |reached| in_words("https://relay.example.com", &reached).verdict;
        assert_eq!(verdict(Reached::Here), Verdict::Ok);
        for reached in [Reached::Inside, Reached::Silent, Reached::Unasked("cannot connect".into())] {
            assert_eq!(verdict(reached), Verdict::Unknown);
        }
        assert_eq!(verdict(Reached::Unfit("TLS: expired".into())), Verdict::Wrong);
        for status in [StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::FOUND, StatusCode::BAD_GATEWAY] {
            let check = in_words("https://relay.example.com", &Reached::Elsewhere(status));
            assert!(check.verdict == Verdict::Wrong && check.said.contains(status.as_str()) && check.remedy.is_some());
        }
    }
}
