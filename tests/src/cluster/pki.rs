//! The certificates and keys of one cluster.

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Files in one folder: what the API server shows, who signed it, and what signs tokens of service accounts.
#[derive(Clone, Debug)]
pub struct Pki {
    folder: PathBuf,
}

impl Pki {
    /// Makes all of them for an API server at these addresses.
    pub fn create(folder: PathBuf, addresses: &[IpAddr]) -> Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let pki = Self { folder };

        let authority_key = KeyPair::generate()?;
        let mut authority = named("mesh-tests-ca", Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        write(&pki.authority(), &authority.self_signed(&authority_key)?.pem())?;

        let names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"].map(str::to_owned);
        let all = names.into_iter().chain(addresses.iter().map(IpAddr::to_string));
        let server_key = KeyPair::generate()?;
        let server = named("kube-apiserver", all.collect())?;
        let signed = server.signed_by(&server_key, &Issuer::from_params(&authority, &authority_key))?;
        write(&pki.server_certificate(), &signed.pem())?;
        write(&pki.server_key(), &server_key.serialize_pem())?;

        let accounts = KeyPair::generate()?;
        write(&pki.accounts_key(), &accounts.serialize_pem())?;
        write(&pki.accounts_public_key(), &accounts.public_key_pem())?;
        Ok(pki)
    }

    /// The certificate of who signed.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// What the API server shows.
    pub fn server_certificate(&self) -> PathBuf {
        self.folder.join("server.crt")
    }

    /// Its key.
    pub fn server_key(&self) -> PathBuf {
        self.folder.join("server.key")
    }

    /// What signs tokens of service accounts.
    pub fn accounts_key(&self) -> PathBuf {
        self.folder.join("accounts.key")
    }

    /// What verifies them.
    pub fn accounts_public_key(&self) -> PathBuf {
        self.folder.join("accounts.pub")
    }
}

fn named(name: &str, alternatives: Vec<String>) -> Result<CertificateParams> {
    let mut parameters = CertificateParams::new(alternatives).context("name a certificate")?;
    parameters.distinguished_name.push(DnType::CommonName, name);
    Ok(parameters)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .with_context(|| format!("write {}", path.display()))
}
