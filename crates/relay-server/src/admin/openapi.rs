//! The document of the API, written from the table of its routes.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use relay_core::delivery::Reason;
use serde_json::{Value, json};
use utoipa::{
    openapi::Required,
    openapi::{
        Content, HttpMethod, InfoBuilder, OpenApi, OpenApiBuilder, Paths, Ref, RefOr, ResponseBuilder,
        ResponsesBuilder, Schema,
        path::{OperationBuilder, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        schema::{ArrayBuilder, ComponentsBuilder, KnownFormat, ObjectBuilder, SchemaFormat, SchemaType, Type},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::{
    code::AdminCode,
    entry::{Answers, Route, Schemas, Verb, schemas},
    routes::filter::LIMIT_MAX,
};
use crate::{api::ProblemDto, error::Code, people::cookie, principal::Role, trend::MINUTES_MAX};

/// The name of the admin token in it.
const TOKEN: &str = "admin_token";
/// The name of a session's cookie in it.
const SESSION: &str = "session";
/// What the strict reader in front of the routes refuses with.
const OF_READER: [Code; 5] =
    [Code::Malformed, Code::Timeout, Code::UriTooLong, Code::HeadersTooLarge, Code::NotImplemented];

/// The document of these routes.
pub(super) fn document(routes: &[Route]) -> OpenApi {
    let mut components = ComponentsBuilder::new().schemas_from_iter(schemas::<ProblemDto>());
    let mut paths = Paths::new();
    for route in routes {
        for of in route.asks.iter().chain(route.answers.schemas()) {
            components = components.schemas_from_iter(of());
        }
        paths.add_path_operation(format!("/api/v1{}", route.path), vec![method(route.verb)], operation(route));
    }
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
    let token = token.description(Some("ADMIN_TOKEN; none over the socket")).build();
    let about = "A session of the dashboard, over TLS; over plain HTTP, which is for loopback alone, the name has no __Host- and \
                   ends in the port";
    let session = ApiKeyValue::with_description(cookie::over_tls(), about.to_owned());
    let info = InfoBuilder::new().title("crm-relay admin API").version(env!("CARGO_PKG_VERSION")).build();
    OpenApiBuilder::new()
        .info(info)
        .paths(paths)
        .components(Some(
            problems(components)
                .security_scheme(TOKEN, SecurityScheme::Http(token))
                .security_scheme(SESSION, SecurityScheme::ApiKey(ApiKey::Cookie(session)))
                .build(),
        ))
        .security(Some([SecurityRequirement::new(TOKEN, [""; 0]), SecurityRequirement::new(SESSION, [""; 0])]))
        .build()
}

fn operation(route: &Route) -> OperationBuilder {
    let mut operation = OperationBuilder::new()
        .summary(Some(route.summary))
        .description(Some(format!("Needs the permission `{}`.", route.needs.as_str())));
    if Role::Stranger.may(route.needs) {
        operation = operation.securities(Some(Vec::new()));
    }
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    for name in in_path {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True);
        let parameter = parameter.example(Some(json!(example(name))));
        operation = operation.parameter(parameter.schema(Some(text())).build());
    }
    for name in route.query {
        let parameter = ParameterBuilder::new().name(*name).parameter_in(ParameterIn::Query).required(Required::False);
        operation = operation.parameter(parameter.schema(Some(queried(name))).build());
    }
    if let Some(asks) = route.asks {
        let body = RequestBodyBuilder::new().content("application/json", Content::new(Some(reference(asks))));
        operation = operation.request_body(Some(body.required(Some(Required::True)).build()));
    }
    let (status, said) = match route.answers {
        Answers::Made(_) => ("201", "made"),
        Answers::Nothing => ("204", "done"),
        Answers::One(_) | Answers::OneOrStream(_) | Answers::List(_) | Answers::Bytes => ("200", "as it is"),
    };
    let done = ResponseBuilder::new().description(said);
    let done = match route.answers {
        Answers::One(of) | Answers::Made(of) => done.content("application/json", Content::new(Some(reference(of)))),
        Answers::OneOrStream(of) => done
            .content("application/json", Content::new(Some(reference(of))))
            .content("text/event-stream", Content::new(Some(text()))),
        Answers::List(of) => done.content("application/json", Content::new(Some(page(of)))),
        Answers::Bytes => done.content("application/octet-stream", Content::new(None::<RefOr<Schema>>)),
        Answers::Nothing => done,
    };
    let responses = ResponsesBuilder::new().response(status, done.build());
    let refused = |all: ResponsesBuilder, status: StatusCode| {
        all.response(status.as_str(), Ref::from_response_name(problem_name(status)))
    };
    operation.responses(statuses(route).into_iter().fold(responses, refused).build())
}

/// What a route may be refused with: by itself, and by the strict reader in front of it.
fn statuses(route: &Route) -> BTreeSet<StatusCode> {
    let mut all: BTreeSet<_> = route.refusals().into_iter().map(AdminCode::status).collect();
    // Whoever is not known may ask it: nobody is sent away for being nobody.
    if Role::Stranger.may(route.needs) && !route.also.contains(&AdminCode::Unauthorized) {
        all.remove(&StatusCode::UNAUTHORIZED);
    }
    all.extend(OF_READER.map(Code::status));
    all
}

/// The answers that refuse, one a status, each with the codes that it may have.
fn problems(components: ComponentsBuilder) -> ComponentsBuilder {
    let mut codes: BTreeMap<StatusCode, BTreeSet<&str>> = BTreeMap::new();
    for code in AdminCode::ALL {
        codes.entry(code.status()).or_default().insert(code.as_str());
    }
    for code in OF_READER {
        codes.entry(code.status()).or_default().insert(code.as_str());
    }
    codes.into_iter().fold(components, |components, (status, codes)| {
        let codes: Vec<_> = codes.into_iter().map(|code| format!("`{code}`")).collect();
        let problem = Content::new(Some(reference(schemas::<ProblemDto>)));
        let said = format!("{}: {}", status.canonical_reason().unwrap_or_default(), codes.join(", "));
        let answer = ResponseBuilder::new().description(said).content("application/problem+json", problem);
        components.response(problem_name(status), answer.build())
    })
}

fn problem_name(status: StatusCode) -> String {
    format!("problem_{}", status.as_str())
}

/// What may stand behind a name in a query.
fn queried(name: &str) -> RefOr<Schema> {
    let of = |of: Type| ObjectBuilder::new().schema_type(of);
    let schema = match name {
        "limit" => of(Type::Integer).minimum(Some(1)).maximum(Some(LIMIT_MAX)),
        "minutes" => of(Type::Integer).minimum(Some(1)).maximum(Some(MINUTES_MAX as u32)),
        "forget" => of(Type::Boolean),
        "since" | "until" => of(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))),
        "reason" => of(Type::String).enum_values(Some(Reason::ALL.map(Reason::as_str))),
        _ => of(Type::String),
    };
    RefOr::T(Schema::Object(schema.build()))
}

fn reference(of: Schemas) -> RefOr<Schema> {
    let name = of().into_iter().next().map(|(name, _)| name).unwrap_or_default();
    RefOr::Ref(Ref::from_schema_name(name))
}

/// `{items, next}`.
fn page(of: Schemas) -> RefOr<Schema> {
    let items = ArrayBuilder::new().items(reference(of)).build();
    let next = ObjectBuilder::new().schema_type(SchemaType::Array(vec![Type::String, Type::Null])).build();
    let page = ObjectBuilder::new().property("items", Schema::Array(items)).property("next", next);
    RefOr::T(Schema::Object(page.required("items").required("next").build()))
}

/// What stands at this place of a path on a server as it is out of the box, once it was sent a webhook.
fn example(parameter: &str) -> &'static str {
    if parameter == "id" { "last" } else { "default" }
}

fn text() -> RefOr<Schema> {
    RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(Type::String).build()))
}

/// How the method of a route is called there.
const fn method(verb: Verb) -> HttpMethod {
    match verb {
        Verb::Get => HttpMethod::Get,
        Verb::Post => HttpMethod::Post,
        Verb::Patch => HttpMethod::Patch,
        Verb::Delete => HttpMethod::Delete,
    }
}

/// Members that are flattened into an object and may be missing: utoipa writes that they, and so the whole object, may be null.
fn loosen(schema: &mut Value) {
    let parts = schema.get_mut("allOf").and_then(Value::as_array_mut).into_iter().flatten();
    for alternatives in parts.filter_map(|part| part.as_object_mut()) {
        if let Some(Value::Array(mut either)) = alternatives.remove("oneOf") {
            for other in either.iter_mut().filter(|other| **other == json!({"type": "null"})) {
                *other = json!({"type": "object"});
            }
            alternatives.insert("anyOf".to_owned(), Value::Array(either));
        }
    }
}

/// As text, its members in order.
pub(super) fn text_of(document: &OpenApi) -> String {
    let mut value: Value = serde_json::to_value(document).expect("it has string keys, strings and numbers only");
    let schemas = value.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
    schemas.into_iter().flatten().for_each(|(_, schema)| loosen(schema));
    format!("{value:#}\n")
}
