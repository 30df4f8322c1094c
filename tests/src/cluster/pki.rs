//! The certificates and keys of one API server, and the kubeconfig of its administrator.

use crate::world::Addresses;
use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use serde_json::json;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// The token of `system:masters`.
const TOKEN: &str = "administrator";

/// Files in one directory.
#[derive(Debug)]
pub struct Pki {
    directory: PathBuf,
}

impl Pki {
    /// Makes all of them.
    pub fn create(directory: PathBuf) -> Result<Self> {
        fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        let pki = Self { directory };
        let authority = authority().context("make a certificate authority")?;
        let server = KeyPair::generate().context("make the server's key")?;
        let certificate =
            server_parameters()?.signed_by(&server, &authority).context("sign the server's certificate")?;
        let accounts = KeyPair::generate().context("make the key of service accounts")?;
        pki.write("ca.crt", &authority.pem())?;
        pki.write("server.crt", &certificate.pem())?;
        pki.write("server.key", &server.serialize_pem())?;
        pki.write("accounts.key", &accounts.serialize_pem())?;
        pki.write("accounts.pub", &accounts.public_key_pem())?;
        pki.write("tokens.csv", &format!("{TOKEN},administrator,1,system:masters\n"))?;
        pki.write("kubeconfig", &pki.kubeconfig_of(TOKEN).to_string())?;
        Ok(pki)
    }

    /// One of the files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Another user's kubeconfig: whose token this is.
    pub fn write_kubeconfig(&self, user: &str, token: &str) -> Result<PathBuf> {
        let name = format!("{user}.kubeconfig");
        self.write(&name, &self.kubeconfig_of(token).to_string())?;
        Ok(self.file(&name))
    }

    fn kubeconfig_of(&self, token: &str) -> serde_json::Value {
        let cluster = json!({"server": super::api::url(), "certificate-authority": self.file("ca.crt")});
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "world",
            "clusters": [{"name": "world", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "world", "context": {"cluster": "world", "user": "user"}}],
        })
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path: &Path = &self.file(name);
        fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, "a world's authority");
    Ok(CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?)
}

fn server_parameters() -> Result<CertificateParams> {
    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let mut parameters = CertificateParams::new(names.map(str::to_owned))?;
    let addresses: [IpAddr; 3] = [Ipv4Addr::LOCALHOST.into(), Addresses::NODE.v4.into(), super::api::SERVICE.into()];
    parameters.subject_alt_names.extend(addresses.map(SanType::IpAddress));
    parameters.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    Ok(parameters)
}
