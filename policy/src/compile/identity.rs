//! Trust domain aliases: a mesh that was renamed keeps honouring the old name.

use super::Mesh;

/// The values that a `principals` entry stands for. A principal of five parts whose trust domain is the
/// mesh's, an alias, or `cluster.local` becomes one value for each trust domain of the mesh.
pub(super) fn principals(value: &str, mesh: &Mesh) -> Vec<String> {
    let parts: Vec<&str> = value.split('/').collect();
    let [domain, rest @ ..] = parts.as_slice() else {
        return vec![value.to_owned()];
    };
    let bundle = bundle(mesh);
    let is_ours = *domain == "cluster.local" || bundle.iter().any(|known| meets(domain, known));
    if rest.len() != 4 || *domain == "*" || !is_ours {
        return vec![value.to_owned()];
    }
    let mut values: Vec<String> = Vec::new();
    for known in bundle {
        // A pattern that ends like the domain says more than the domain: it stays.
        let keeps = domain
            .strip_prefix('*')
            .is_some_and(|suffix| known.ends_with(suffix));
        let renamed = if keeps {
            value.to_owned()
        } else {
            format!("{known}/{}", rest.join("/"))
        };
        if !values.contains(&renamed) {
            values.push(renamed);
        }
    }
    values
}

/// The values that a `trustDomains` entry stands for: all domains of the mesh if it is one of them.
pub(super) fn trust_domains(value: &str, mesh: &Mesh) -> Vec<String> {
    let bundle = bundle(mesh);
    if bundle.contains(&value) {
        bundle.into_iter().map(str::to_owned).collect()
    } else {
        vec![value.to_owned()]
    }
}

fn bundle(mesh: &Mesh) -> Vec<&str> {
    let aliases = mesh.trust_domain_aliases.iter().map(String::as_str);
    std::iter::once(mesh.trust_domain.as_str())
        .chain(aliases)
        .collect()
}

/// Whether two names are the same, a `*` at either end of either one being a wildcard.
fn meets(left: &str, right: &str) -> bool {
    let covers = |pattern: &str, text: &str| {
        pattern == text
            || pattern
                .strip_prefix('*')
                .is_some_and(|suffix| text.ends_with(suffix))
            || pattern
                .strip_suffix('*')
                .is_some_and(|prefix| text.starts_with(prefix))
    };
    covers(left, right) || covers(right, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mesh() -> Mesh {
        Mesh {
            trust_domain: "td1".into(),
            trust_domain_aliases: vec!["old-td".into()],
            ..Mesh::default()
        }
    }

    #[track_caller]
    fn check(value: &str, expected: &[&str]) {
        assert_eq!(principals(value, &mesh()), expected, "{value}");
    }

    #[test]
    fn principals_are_repeated_for_each_trust_domain() {
        check(
            "td1/ns/foo/sa/a",
            &["td1/ns/foo/sa/a", "old-td/ns/foo/sa/a"],
        );
        check(
            "old-td/ns/foo/sa/a",
            &["td1/ns/foo/sa/a", "old-td/ns/foo/sa/a"],
        );
        check(
            "cluster.local/ns/foo/sa/a",
            &["td1/ns/foo/sa/a", "old-td/ns/foo/sa/a"],
        );
        check("*-td/ns/foo/sa/a", &["td1/ns/foo/sa/a", "*-td/ns/foo/sa/a"]);
        check("other/ns/foo/sa/a", &["other/ns/foo/sa/a"]);
        check("*/ns/foo/sa/a", &["*/ns/foo/sa/a"]);
        check("td1/ns/foo", &["td1/ns/foo"]);
        check("*", &["*"]);
    }

    #[test]
    fn only_a_trust_domain_of_the_mesh_expands() {
        assert_eq!(trust_domains("old-td", &mesh()), ["td1", "old-td"]);
        assert_eq!(trust_domains("cluster.local", &mesh()), ["cluster.local"]);
        assert_eq!(trust_domains("td*", &mesh()), ["td*"]);
    }
}
