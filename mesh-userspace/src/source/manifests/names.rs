//! Which names in the directory are manifests.

use super::document::Format;
use std::ffi::OsStr;
use std::path::{Component, Path};

/// How the file of this name is written; `None` for one that is no manifest. Editors' temporary files (`.cart.yaml.swp`,
/// `cart.yaml~`, `#cart.yaml#`, `.#cart.yaml`, `4913`) are none.
pub(super) fn format(path: &Path) -> Option<Format> {
    let name = path.file_name()?;
    if is_hidden(name) || name.as_encoded_bytes().starts_with(b"#") {
        return None;
    }
    match path.extension()?.as_encoded_bytes() {
        b"yaml" | b"yml" => Some(Format::Yaml),
        b"json" => Some(Format::Json),
        _ => None,
    }
}

/// Whether a name is left out, with everything below it.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Whether a name is one of those by which Kubernetes swaps a mounted `ConfigMap` (`..data`): what it holds is reached by
/// visible links, which it changes all at once.
pub(super) fn is_swap(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".."))
}

/// Whether `path` is `root` or lies below it without passing a hidden name.
pub(super) fn is_visible(root: &Path, path: &Path) -> bool {
    path.strip_prefix(root)
        .is_ok_and(|below| below.components().all(|part| matches!(part, Component::Normal(name) if !is_hidden(name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_yaml_and_json_files() {
        for (name, expected) in [
            ("cart.yaml", Some(Format::Yaml)),
            ("cart.yml", Some(Format::Yaml)),
            ("cart.v2.json", Some(Format::Json)),
            ("cart", None),
            ("cart.txt", None),
            ("cart.YAML", None),
            (".cart.yaml", None),
            (".cart.yaml.swp", None),
            ("cart.yaml~", None),
            ("#cart.yaml#", None),
            ("#cart.yaml", None),
            (".#cart.yaml", None),
            ("4913", None),
            ("cart.yaml.tmp", None),
        ] {
            assert_eq!(format(Path::new("/m").join(name).as_path()), expected, "{name}");
        }
    }

    #[test]
    fn what_lies_below_a_hidden_name_is_hidden() {
        let root = Path::new("/etc/.mesh");
        assert!(is_visible(root, root));
        assert!(is_visible(root, &root.join("a/b.yaml")));
        assert!(!is_visible(root, &root.join(".git/b.yaml")));
        assert!(!is_visible(root, &root.join("..data")));
        assert!(!is_visible(root, Path::new("/etc")));
        assert!(is_swap(&root.join("..data")) && !is_swap(&root.join(".git")));
    }
}
