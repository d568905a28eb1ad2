//! Samples that say that something else happened.

use bytes::Bytes;
use relay_core::time::Wall;
use serde_json::Value;

use crate::{Draft, Provider, name::Name};

impl Provider {
    /// The sample event as [`Provider::draft`] makes it, but that it says that this happened, in the platform's words; all
    /// else in it stays as it is. `None`: its requests say what happened in a way that a name alone does not make.
    pub fn draft_of(&self, url: &str, id: &str, now: Wall, event: &str) -> Option<Draft> {
        let draft = self.draft(url, id, now);
        let is_said = |draft: &Draft| self.event_in(&draft.request(now, &[])).as_deref() == Some(event);
        renamed(self.event, &draft, event).into_iter().find(is_said)
    }
}

/// What it can be that says so, if the name stands there.
fn renamed(name: Name, draft: &Draft, event: &str) -> Vec<Draft> {
    match name {
        Name::Header(field) => in_header(draft, field, event).into_iter().collect(),
        Name::Json(path) => in_body(draft, &[(path.to_owned(), event)]).into_iter().collect(),
        Name::Joined(list, fields) => {
            let place = |field: &&str| if list.is_empty() { (*field).to_owned() } else { format!("{list}.{field}") };
            let places: Vec<(String, &str)> = fields.iter().map(place).zip(event.splitn(fields.len(), '.')).collect();
            in_body(draft, &places).into_iter().collect()
        }
        Name::First(names) => names.iter().flat_map(|name| renamed(*name, draft, event)).collect(),
        Name::Nowhere | Name::Form(_) | Name::FormJson(..) | Name::Member(..) | Name::Code(..) => Vec::new(),
    }
}

fn in_header(draft: &Draft, field: &str, event: &str) -> Option<Draft> {
    let mut draft = draft.clone();
    let (_, value) = draft.headers.iter_mut().find(|(name, _)| name == field)?;
    *value = Bytes::from(event.to_owned());
    Some(draft)
}

fn in_body(draft: &Draft, places: &[(String, &str)]) -> Option<Draft> {
    let mut body: Value = serde_json::from_slice(&draft.body).ok()?;
    for (path, text) in places {
        let stands = at(&mut body, path)?;
        *stands = Value::from(*text);
    }
    Some(Draft { body: body.to_string().into(), ..draft.clone() })
}

/// The text at a path, of lists in the first item.
fn at<'a>(root: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let mut here = root;
    for step in path.split('.') {
        let (field, is_list) = step.strip_suffix("[]").map_or((step, false), |field| (field, true));
        if !field.is_empty() {
            here = here.get_mut(field)?;
        }
        if is_list {
            here = here.get_mut(0)?;
        }
    }
    here.is_string().then_some(here)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{provider, providers};

    const NOW: Wall = Wall::from_micros(1_800_000_000_000_000);

    fn said(provider_name: &str, event: &str) -> Option<Draft> {
        provider(provider_name)?.draft_of("https://relay.example.com/", "1", NOW, event)
    }

    #[test]
    fn a_sample_says_what_it_is_told_to() {
        for (name, event) in [
            ("stripe", "invoice.paid"),
            ("github", "release"),
            ("asana", "task.removed"),
            ("hubspot", "deal.creation"),
            ("cloudevents", "com.example.order"),
            ("pipedrive", "change.deal"),
        ] {
            let draft = said(name, event).unwrap_or_else(|| panic!("{name}"));
            let entry = provider(name).unwrap();
            assert_eq!(entry.event_in(&draft.request(NOW, &[])).as_deref(), Some(event), "{name}");
        }
        let stripe = said("stripe", "invoice.paid").unwrap();
        let body: Value = serde_json::from_slice(&stripe.body).unwrap();
        assert_eq!((&body["type"], &body["object"]), (&Value::from("invoice.paid"), &Value::from("event")));
    }

    /// What would say something else than it was told to is not made.
    #[test]
    fn what_a_name_does_not_make_is_not_made() {
        assert_eq!(said("salesforce", "Lead"), None);
        assert_eq!(said("stripe", "two\nlines"), None);
        assert_eq!(said("asana", "task"), None, "it would still have been added");
    }

    #[test]
    fn most_platforms_samples_can_say_something_else() {
        let named = providers().iter().filter(|entry| entry.event.is_anywhere());
        let (can, cannot): (Vec<_>, Vec<_>) =
            named.map(|entry| entry.name).partition(|name| said(name, "made.up").is_some());
        assert!(can.len() > 3 * cannot.len(), "{cannot:?}");
    }
}
