//! The document of the API, written from the table of its routes.

use serde_json::{Value, json};
use utoipa::{
    openapi::Required,
    openapi::{
        Content, HttpMethod, InfoBuilder, OpenApi, OpenApiBuilder, Paths, Ref, RefOr, ResponseBuilder,
        ResponsesBuilder, Schema,
        path::{OperationBuilder, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        schema::{ArrayBuilder, ComponentsBuilder, ObjectBuilder, SchemaType, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::entry::{Answers, Route, Schemas, Verb, schemas};
use crate::{api::ProblemDto, principal::Role};

/// The name of the admin token in it.
const TOKEN: &str = "admin_token";

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
    let info = InfoBuilder::new().title("crm-relay admin API").version(env!("CARGO_PKG_VERSION")).build();
    OpenApiBuilder::new()
        .info(info)
        .paths(paths)
        .components(Some(components.security_scheme(TOKEN, SecurityScheme::Http(token)).build()))
        .security(Some([SecurityRequirement::new(TOKEN, [""; 0])]))
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
        operation = operation.parameter(parameter.schema(Some(text())).build());
    }
    if let Some(asks) = route.asks {
        let body = RequestBodyBuilder::new().content("application/json", Content::new(Some(reference(asks))));
        operation = operation.request_body(Some(body.required(Some(Required::True)).build()));
    }
    let (status, said) = match route.answers {
        Answers::Made(_) => ("201", "made"),
        Answers::Nothing => ("204", "done"),
        Answers::One(_) | Answers::List(_) | Answers::Bytes => ("200", "as it is"),
    };
    let done = ResponseBuilder::new().description(said);
    let done = match route.answers {
        Answers::One(of) | Answers::Made(of) => done.content("application/json", Content::new(Some(reference(of)))),
        Answers::List(of) => done.content("application/json", Content::new(Some(page(of)))),
        Answers::Bytes => done.content("application/octet-stream", Content::new(None::<RefOr<Schema>>)),
        Answers::Nothing => done,
    };
    let problem = Content::new(Some(reference(schemas::<ProblemDto>)));
    let problem = ResponseBuilder::new().description("a problem").content("application/problem+json", problem);
    let responses = ResponsesBuilder::new().response(status, done.build()).response("default", problem.build());
    operation.responses(responses.build())
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
