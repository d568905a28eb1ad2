//! Draws every screen in every state. With `SCREENS=folder` they are written there as files, with what they load beside them:
//! `tests/look` takes pictures of them.

use std::{fs, path::Path};

use crate::sample::{Words, screens};
use relay_dashboard::asset::Asset;

#[test]
fn every_screen_is_drawn_whole_in_every_state() {
    let all = screens(&Words::usual()).into_iter().map(|(name, html)| (name.to_owned(), html));
    let long = screens(&Words::long()).into_iter().map(|(name, html)| (format!("{name}-long"), html));
    for (name, html) in all.chain(long) {
        if !name.contains(".fragment") {
            assert!(html.starts_with("<!doctype html>") && html.trim_end().ends_with("</html>"), "{name}");
            assert_eq!(html.matches("<h1").count(), 1, "{name} has one title");
        }
        if let Some(folder) = std::env::var_os("SCREENS") {
            write(Path::new(&folder), &name, &html);
        }
    }
}

fn write(folder: &Path, name: &str, html: &str) {
    fs::create_dir_all(folder.join("assets")).expect("the folder can be written");
    for asset in Asset::ALL {
        fs::write(folder.join("assets").join(asset.name()), asset.bytes()).expect("the folder can be written");
    }
    fs::write(folder.join(format!("{name}.html")), html).expect("the folder can be written");
}
