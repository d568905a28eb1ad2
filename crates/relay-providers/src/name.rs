//! Names: what happened, and to what, as a provider's requests say it.

use relay_core::event::event_name;
use serde_json::Value;

use crate::{
    Request, form, header, media_type, multipart,
    pruned::{self, Part, find, parts, text},
    walk::{Step, Walk},
};

/// Largest text of a form's field that is read as JSON.
const FIELD_BYTES_MAX: usize = 256 * 1024;
/// Items of a batch that are looked at for a name: it is that of the first.
const ITEMS_MAX: usize = 16;

/// Where a name stands.
///
/// It is for people, for filters and for indexes, and proves nothing: where a header field has it, whoever passes a request on
/// can change it. It is read of genuine requests alone: fields of a JSON body in the pass that the delivery id needs anyway, and
/// not at all of one too large for that. What is read is 1 to 255 bytes of text without control characters, or it is no name:
/// a request without one is accepted all the same.
#[derive(Clone, Copy, Debug)]
pub enum Name {
    /// Nowhere.
    Nowhere,
    /// In a header field.
    Header(&'static str),
    /// In a JSON body. Of several values, the first.
    Json(&'static str),
    /// In a JSON body, in two or more fields, read with dots between: what it happened to, and what happened. The first has to
    /// be there. All of one object: the body, or the first item of the list that this path names.
    Joined(&'static str, &'static [&'static str]),
    /// A field of a form: in the body, in the query where the method is GET.
    Form(&'static str),
    /// The same, and there at a path of the JSON that the field holds.
    FormJson(&'static str, &'static str),
    /// The name itself of a member: the first of a JSON object that is none of these and not empty. The object is the body, or
    /// an item of the list that this path names.
    Member(&'static str, &'static [&'static str]),
    /// The first of these that there is.
    First(&'static [Name]),
    /// Where the provider's own code finds it; in words.
    Code(&'static str, fn(&Request<'_>) -> Option<String>),
}

impl Name {
    /// Whether there is any.
    pub fn is_anywhere(self) -> bool {
        !matches!(self, Self::Nowhere)
    }

    /// What of a JSON body it reads.
    pub(crate) fn paths(self, request: &Request<'_>) -> Vec<String> {
        match self {
            Self::Json(path) => vec![path.to_owned()],
            Self::Joined("", fields) => fields.iter().map(|field| (*field).to_owned()).collect(),
            Self::Joined(list, fields) => fields.iter().map(|field| format!("{list}.{field}")).collect(),
            Self::First(names) => {
                // What stands in front of the body makes it needless to read that.
                let in_front = names.iter().take_while(|name| matches!(name, Self::Header(_)));
                let is_known = in_front.clone().any(|name| name.read(request, None).is_some());
                if is_known { Vec::new() } else { names.iter().flat_map(|name| name.paths(request)).collect() }
            }
            Self::Nowhere
            | Self::Header(_)
            | Self::Form(_)
            | Self::FormJson(..)
            | Self::Member(..)
            | Self::Code(..) => Vec::new(),
        }
    }

    /// The name, given what of its JSON body [`Self::paths`] named.
    pub(crate) fn read(self, request: &Request<'_>, json: Option<&Value>) -> Option<String> {
        match self {
            Self::Nowhere => None,
            Self::Header(name) => text_of(header::first(request.headers, name)?.to_vec()),
            Self::Json(path) => find(json?, path).first().and_then(|value| text(value)).and_then(kept),
            Self::Joined(list, fields) => joined(find(json?, list).first()?, fields),
            Self::Form(name) => text_of(field(request, name)?),
            Self::FormJson(name, path) => {
                let value = field(request, name).filter(|value| value.len() <= FIELD_BYTES_MAX)?;
                let value = pruned::read(&value, &[path.to_owned()], ITEMS_MAX)?;
                find(&value, path).first().and_then(|value| text(value)).and_then(kept)
            }
            Self::Member(list, but) => text_of(member(request.body, list, but)?.to_vec()),
            Self::First(names) => names.iter().find_map(|name| name.read(request, json)),
            Self::Code(_, read) => read(request).and_then(kept),
        }
    }
}

/// A text as a name, if it can be one: nothing that a terminal would obey, or that would turn a line around.
pub(crate) fn kept(text: String) -> Option<String> {
    (event_name(&text).is_some() && !text.contains(steers)).then_some(text)
}

/// A character that is not seen and may turn what stands beside it around.
fn steers(shown: char) -> bool {
    matches!(shown, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn text_of(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok().and_then(kept)
}

fn joined(object: &Value, fields: &[&str]) -> Option<String> {
    let mut texts = fields.iter().map(|field| find(object, field).first().and_then(|value| text(value)));
    let first = texts.next()?.filter(|text| !text.is_empty())?;
    let all = texts.flatten().filter(|text| !text.is_empty()).fold(first, |all, text| format!("{all}.{text}"));
    kept(all)
}

/// A field of a form, decoded.
fn field(request: &Request<'_>, name: &str) -> Option<Vec<u8>> {
    if request.method == "GET" {
        return form::value(request.query.unwrap_or_default(), name);
    }
    let content_type = header::first(request.headers, "content-type").unwrap_or_default();
    // What comes without a type from who sends forms is one.
    if content_type.is_empty() || media_type::is(request, "application/x-www-form-urlencoded") {
        return form::value(request.body, name);
    }
    let fields = multipart::texts(content_type, request.body)?;
    fields.into_iter().find(|(other, _)| other == name.as_bytes()).map(|(_, value)| value)
}

/// The name of the first member that is none of these, as it stands: names with escapes are none of a platform's.
fn member<'a>(body: &'a [u8], list: &'static str, but: &[&str]) -> Option<&'a [u8]> {
    let steps: Vec<Step<'a>> = steps(list);
    let mut walk = Walk::over(pruned::unmarked(body));
    while walk.next_value().is_some() {
        let Some(trail) = walk.trail() else { continue };
        if let Some((Step::Member(name), _)) = trail.strip_prefix(&steps[..]).and_then(<[_]>::split_first)
            && !name.contains(&b'\\')
            && !but.iter().any(|but| but.as_bytes() == *name)
        {
            return Some(name);
        }
    }
    None
}

/// A path as steps of a walk.
fn steps(path: &'static str) -> Vec<Step<'static>> {
    let step = |part| match part {
        Part::Member(name) => Step::Member(str::as_bytes(name)),
        Part::Items => Step::Item,
    };
    parts(path).map(step).collect()
}

#[cfg(test)]
mod tests {
    use relay_core::{limits, time::Wall};

    use super::*;
    use crate::Draft;

    fn read(name: Name, content_type: &'static str, body: &str) -> Option<String> {
        let mut draft = Draft::post("https://h.example/x?event=of+the+query", body.to_owned());
        draft.set_header("content-type", content_type);
        draft.set_header("x-event", "of the head");
        let request = draft.request(Wall::from_micros(0), &[]);
        let json = pruned::read(request.body, &name.paths(&request), ITEMS_MAX);
        name.read(&request, json.as_ref())
    }

    #[test]
    fn a_name_is_read_where_it_stands() {
        const JSON: &str = "application/json";
        const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
        const ALL: Name = Name::First(&[Name::Json("a.b"), Name::Form("b"), Name::Header("x-event")]);
        for (name, content_type, body, expected) in [
            (Name::Header("x-event"), JSON, "", Some("of the head")),
            (Name::Json("l[].e"), JSON, r#"{"l":[{"x":1},{"e":"second"},{"e":"third"}]}"#, Some("second")),
            (Name::Json("l[].e"), JSON, r#"{"l":[{"e":{}}]}"#, None),
            (Name::Joined("l[]", &["what", "how"]), JSON, r#"{"l":[{"how":"made","what":"deal"}]}"#, Some("deal.made")),
            (Name::Joined("l[]", &["what", "how"]), JSON, r#"{"l":[{"what":"deal"},{"how":"lost"}]}"#, Some("deal")),
            (Name::Joined("", &["what", "how"]), JSON, r#"{"how":"made"}"#, None),
            (Name::Form("e"), FORM, "a=1&e=some+thing&e=2", Some("some thing")),
            (Name::Form("e"), JSON, "a=1&e=some+thing", None),
            (Name::Form("e"), "", "a=1&e=some+thing", Some("some thing")),
            (Name::FormJson("p", "[].e"), FORM, "p=%5B%7B%22e%22%3A%22sent%22%7D%5D", Some("sent")),
            (Name::FormJson("p", "e"), FORM, "p=%7B", None),
            (
                Name::Member("", &["id"]),
                JSON,
                r#"{ "id" : {"a":1}, "e\"x":1, "deleted" : { "by":1 } }"#,
                Some("deleted"),
            ),
            (Name::Member("", &["id"]), JSON, r#"{"id":1}"#, None),
            (Name::Member("l[]", &["id"]), JSON, r#"{"x":{"y":1},"l":[{"id":2,"sent":[{"z":1}]}]}"#, Some("sent")),
            (ALL, JSON, r#"{"a":{"b":"made"}}"#, Some("made")),
            (ALL, FORM, "b=sent", Some("sent")),
            (ALL, "text/plain", "b=sent", Some("of the head")),
        ] {
            assert_eq!(read(name, content_type, body).as_deref(), expected, "{name:?}: {body}");
        }
    }

    #[test]
    fn what_is_no_name_is_none() {
        let long = "x".repeat(limits::EVENT_NAME_BYTES_MAX + 1);
        for text in ["", "a\u{1b}[2J", "a\nb", "a\u{202e}b", "\u{feff}a", "a\u{2028}b", "a\u{7f}", &long] {
            assert_eq!(kept(text.to_owned()), None, "{text:?}");
        }
        for text in ["invoice.paid", "Push Hook", "Überweisung", &long[1..]] {
            assert_eq!(kept(text.to_owned()).as_deref(), Some(text));
        }
        assert_eq!(text_of(b"\xff".to_vec()), None);
    }

    /// What stands in front of the body makes it needless to read that.
    #[test]
    fn a_body_is_not_read_for_a_name_that_the_head_has() {
        let mut draft = Draft::post("https://h.example/x", r#"{"type":"a"}"#);
        let name = Name::First(&[Name::Header("ce-type"), Name::Json("type")]);
        assert_eq!(name.paths(&draft.request(Wall::from_micros(0), &[])), ["type"]);
        draft.set_header("ce-type", "b");
        assert_eq!(name.paths(&draft.request(Wall::from_micros(0), &[])), [""; 0]);
    }
}
