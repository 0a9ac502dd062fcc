//! Makes the filter's module as small and as quick as Envoy can use it.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use walrus::ModuleConfig;

/// What Envoy calls in the filter.
///
/// The SDK exports every callback of the ABI, and Envoy enters the VM for each one that is there, at
/// about 0.15 µs a request even when it does nothing. What is not named here is taken out.
const EXPORTS: [&str; 13] = [
    "memory",
    "_initialize",
    "proxy_abi_version_0_2_1",
    "proxy_on_memory_allocate",
    "proxy_on_vm_start",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_request_headers",
    "proxy_on_request_body",
    "proxy_on_request_trailers",
    "proxy_on_http_call_response",
    "proxy_on_tick",
    // The SDK forgets a context here.
    "proxy_on_delete",
];

/// Takes out unneeded exports, what only they reach, and the names of functions.
pub(crate) fn strip(path: &Path) -> Result<()> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let stripped =
        without_unneeded(&bytes).with_context(|| format!("cannot strip {}", path.display()))?;
    // A new file in place of the old: cargo's own copy is a hard link to the same bytes.
    let fresh = path.with_extension("stripped");
    std::fs::write(&fresh, stripped)
        .with_context(|| format!("cannot write {}", fresh.display()))?;
    std::fs::rename(&fresh, path).with_context(|| format!("cannot replace {}", path.display()))
}

/// Takes out what tells linkers which features a module uses: no engine reads it.
pub(crate) fn without_target_features(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut config = ModuleConfig::new();
    config
        .generate_name_section(false)
        .generate_producers_section(false);
    let mut module = config.parse(bytes).map_err(|error| anyhow!("{error:#}"))?;
    module.customs.remove_raw("target_features");
    Ok(module.emit_wasm())
}

fn without_unneeded(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut config = ModuleConfig::new();
    config
        .generate_name_section(false)
        .generate_producers_section(false);
    let mut module = config.parse(bytes).map_err(|error| anyhow!("{error:#}"))?;
    let unneeded = module
        .exports
        .iter()
        .filter(|export| !EXPORTS.contains(&export.name.as_str()));
    for id in unneeded.map(walrus::Export::id).collect::<Vec<_>>() {
        module.exports.delete(id);
    }
    walrus::passes::gc::run(&mut module);
    Ok(module.emit_wasm())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The export behind a method of the SDK's traits.
    fn export(method: &str) -> String {
        let event = method
            .strip_prefix("on_http_request_")
            .map(|rest| format!("request_{rest}"));
        let event = event.or_else(|| {
            method
                .strip_prefix("on_http_response_")
                .map(|rest| format!("response_{rest}"))
        });
        format!(
            "proxy_on_{}",
            event.unwrap_or_else(|| method.trim_start_matches("on_").to_owned())
        )
    }

    #[test]
    fn every_callback_that_the_filter_implements_is_kept() {
        let sources = std::fs::read_dir(crate::root().join("filter/src")).unwrap();
        for source in sources.map(|entry| entry.unwrap().path()) {
            let text = std::fs::read_to_string(&source).unwrap_or_default();
            let methods = text
                .split("fn on_")
                .skip(1)
                .filter_map(|rest| rest.split_once("(&mut self"));
            for (name, _) in methods.filter(|(name, _)| {
                name.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            }) {
                let export = export(&format!("on_{name}"));
                assert!(
                    EXPORTS.contains(&export.as_str()),
                    "{} implements {export}, which is stripped",
                    source.display()
                );
            }
        }
    }

    #[test]
    fn a_callback_is_found_under_its_name_in_the_abi() {
        assert_eq!(
            export("on_http_request_headers"),
            "proxy_on_request_headers"
        );
        assert_eq!(
            export("on_http_call_response"),
            "proxy_on_http_call_response"
        );
        assert_eq!(export("on_tick"), "proxy_on_tick");
    }

    #[test]
    fn an_export_that_is_not_needed_goes_with_its_code() {
        let mut module = walrus::Module::default();
        for name in ["proxy_on_tick", "proxy_on_log"] {
            let mut function = walrus::FunctionBuilder::new(&mut module.types, &[], &[]);
            function.func_body().unreachable();
            let id = function.finish(Vec::new(), &mut module.funcs);
            module.exports.add(name, id);
        }
        let stripped = without_unneeded(&module.emit_wasm()).unwrap();
        let module = walrus::Module::from_buffer(&stripped).unwrap();
        let names: Vec<_> = module
            .exports
            .iter()
            .map(|export| export.name.as_str())
            .collect();
        assert_eq!(names, ["proxy_on_tick"]);
        assert_eq!(module.funcs.iter().count(), 1);
        assert!(without_unneeded(b"no module").is_err());
    }
}
