//! The shop: ordinary Kubernetes manifests, compiled in so that the lab runs from anywhere.

use anyhow::Result;
use mesh_tests::object::Object;

const FILES: [(&str, &str); 5] = [
    ("lab/shop/cart.yaml", include_str!("../../../../lab/shop/cart.yaml")),
    ("lab/shop/catalogue.yaml", include_str!("../../../../lab/shop/catalogue.yaml")),
    ("lab/shop/dns.yaml", include_str!("../../../../lab/shop/dns.yaml")),
    ("lab/shop/payment.yaml", include_str!("../../../../lab/shop/payment.yaml")),
    ("lab/shop/web.yaml", include_str!("../../../../lab/shop/web.yaml")),
];

/// Its objects.
pub fn objects() -> Result<Vec<Object>> {
    Ok(FILES.iter().map(|(file, text)| Object::parse_all(text, file)).collect::<Result<Vec<_>>>()?.concat())
}
