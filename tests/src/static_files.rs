//! Serves a folder of built files, such as `www/dist`, on a loopback port.

use std::path::{Component, Path, PathBuf};

use anyhow::{Result, ensure};

use crate::server::{Reply, Server};

/// Serves `folder` on 127.0.0.1; port 0 lets the system choose. `/` is `index.html`.
pub fn serve(folder: &Path, port: u16) -> Result<Server> {
    ensure!(
        folder.is_dir(),
        "{} is not there; `cargo xtask wasm` builds the page",
        folder.display()
    );
    let folder = folder.to_path_buf();
    Server::start(port, move |request| answer(&folder, &request.path))
}

fn answer(folder: &Path, target: &str) -> Reply {
    let found = locate(folder, target)
        .and_then(|path| Some((content_type(&path), std::fs::read(path).ok()?)));
    match found {
        Some((content_type, body)) => Reply::new(200, content_type, body),
        None => Reply::new(404, "text/plain; charset=utf-8", "not found"),
    }
}

/// The file behind a request target; `None` for what leaves the folder or is not there.
fn locate(folder: &Path, target: &str) -> Option<PathBuf> {
    let path = target
        .split(['?', '#'])
        .next()
        .unwrap_or_default()
        .trim_start_matches('/');
    let path = Path::new(path);
    if !path
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
    {
        return None;
    }
    let path = folder.join(path);
    let path = if path.is_dir() {
        path.join("index.html")
    } else {
        path
    };
    path.is_file().then_some(path)
}

fn content_type(path: &Path) -> &'static str {
    match path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default()
    {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Exchange, Response};
    use crate::scratch::Scratch;

    #[test]
    fn files_come_with_their_type_and_nothing_else_comes() {
        let folder = Scratch::new().unwrap();
        folder.write("index.html", "page").unwrap();
        folder.write("engine.wasm", [0, 97]).unwrap();
        let server = serve(folder.path(), 0).unwrap();
        let get = |path: &str| -> Response {
            let exchange = Exchange {
                path: path.as_bytes().to_vec(),
                ..Exchange::default()
            };
            exchange.send_directly(server.address()).unwrap()
        };
        let page = get("/?embed=1");
        assert_eq!((page.status, page.text().as_str()), (200, "page"));
        assert_eq!(
            get("/engine.wasm").header("content-type").as_deref(),
            Some("application/wasm")
        );
        for path in ["/absent", "/../secret", "//etc/passwd", "/./index.html/.."] {
            assert_eq!(get(path).status, 404, "{path}");
        }
    }
}
