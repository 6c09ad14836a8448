//! Templates that a running task has rendered: those of classes, which only the objects made of them know.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;
use updraft_core::protocol::Order;
use updraft_operators::template::Renderer;

use super::{attempt::Tools, host::AttemptHost};
use crate::process::{Masks, Secret};

/// A template.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Template {
    /// The argument that it stands in, with the way to it.
    field: String,
    text: String,
    /// A text that ends so is the name of a file with the template.
    files: Vec<String>,
}

/// What it comes to for this order. What it looks up is masked from now on. An error says why there is nothing.
pub(super) async fn rendered(
    order: &Arc<Order>,
    tools: &Arc<Tools>,
    masks: &Masks,
    template: Template,
) -> Result<Value, String> {
    let _turn = tools.preparing.acquire().await;
    // Dropped where this is: then nothing is asked for any more.
    let (_waiting, wanted) = watch::channel(());
    let host = AttemptHost::new(order.clone(), tools.clone(), masks.clone(), wanted);
    let (order, masks) = (order.clone(), masks.clone());
    let render = move || {
        let Template { field, text, files } = template;
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let render = || Renderer::new(&order, &host)?.render(&field, &Value::String(text), &files);
        let value = render().map_err(|bad| bad.to_string());
        let known = masks.add(host.secrets().into_iter().map(Secret::new));
        known.map_err(|error| error.to_string()).and(value)
    };
    tokio::task::spawn_blocking(render).await.map_err(|panic| panic.to_string())?
}
