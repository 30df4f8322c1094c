//! The command line's side of the socket.

use super::types::Failure;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no agent answers on {socket}: {cause}; start it with `mesh agent --socket {socket} --manifests DIR \
         --node-name NAME`, or name another agent's socket with --socket",
        socket = socket.display()
    )]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// Somebody listens and the talk fails.
    #[error("the agent on {} broke off: {cause}; look at its log", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What went wrong.
        cause: hyper::Error,
    },
    /// The agent says that there is no such thing.
    #[error("{}; {}", .0.message, .0.action)]
    NotFound(Failure),
    /// The agent says why it does not answer.
    #[error("{}; {}", .0.message, .0.action)]
    Refused(Failure),
    /// The answer is not what this version expects.
    #[error("the agent's answer to {path} is not understood ({cause}); use the mesh of the agent's own version")]
    Garbled {
        /// The path that was asked.
        path: String,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
}

/// A client of the agent behind one socket. Each question opens its own connection: a listing that is watched outlives
/// a restart of the agent.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the agent at `socket`.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The answer at `path`, with `parameters` that are escaped here; absent ones are left out.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&str, Option<&str>)],
    ) -> Result<T, ClientError> {
        let body = self.send(path, parameters).await?.into_body();
        let bytes = body.collect().await.map_err(|cause| self.broken(cause))?.to_bytes();
        serde_json::from_slice(&bytes).map_err(|cause| ClientError::Garbled { path: path.to_owned(), cause })
    }

    /// The JSON lines at `path`, one by one as they come.
    pub async fn lines<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&str, Option<&str>)],
    ) -> Result<Lines<T>, ClientError> {
        let body = self.send(path, parameters).await?.into_body();
        Ok(Lines {
            client: self.clone(),
            path: path.to_owned(),
            body,
            buffer: Vec::new(),
            _item: std::marker::PhantomData,
        })
    }

    async fn send(&self, path: &str, parameters: &[(&str, Option<&str>)]) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|cause| ClientError::Unreachable { socket: self.socket.clone(), cause })?;
        let broken = |cause| self.broken(cause);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection);
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = uri(path, parameters);
        request.headers_mut().insert(header::HOST, header::HeaderValue::from_static("mesh"));
        let response = sender.send_request(request).await.map_err(broken)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.into_body().collect().await.map_err(broken)?.to_bytes();
        let failure = serde_json::from_slice(&body).unwrap_or_else(|_| Failure {
            message: format!("the agent answers {status}: {}", String::from_utf8_lossy(&body).trim()),
            action: "look at its log".to_owned(),
        });
        Err(if status == StatusCode::NOT_FOUND {
            ClientError::NotFound(failure)
        } else {
            ClientError::Refused(failure)
        })
    }

    fn broken(&self, cause: hyper::Error) -> ClientError {
        ClientError::Broken { socket: self.socket.clone(), cause }
    }
}

/// JSON lines as they come.
#[derive(Debug)]
pub struct Lines<T> {
    client: Client,
    path: String,
    body: Incoming,
    buffer: Vec<u8>,
    _item: std::marker::PhantomData<T>,
}

impl<T: DeserializeOwned> Lines<T> {
    /// The next one; `None` when the agent ended the stream.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|cause| ClientError::Garbled { path: self.path.clone(), cause });
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => self.buffer.extend(frame.into_data().unwrap_or_default()),
                Some(Err(cause)) => return Err(self.client.broken(cause)),
            }
        }
    }
}

/// `path?name=value&...`, with everything escaped that is not unreserved (RFC 3986, 2.3).
fn uri(path: &str, parameters: &[(&str, Option<&str>)]) -> Uri {
    let mut text = String::new();
    for segment in path.split('/').skip(1) {
        text.push('/');
        escape(segment, &mut text);
    }
    let mut separator = '?';
    for (name, value) in parameters {
        if let Some(value) = value {
            let _ = write!(text, "{separator}{name}=");
            escape(value, &mut text);
            separator = '&';
        }
    }
    Uri::try_from(text).unwrap_or_default()
}

fn escape(value: &str, text: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_escaped_and_absent_ones_left_out() {
        let uri = uri("/v1/services/a b/c%2F", &[("from", None), ("address", Some("fd00::1")), ("x", Some("a&b=c"))]);
        assert_eq!(uri.to_string(), "/v1/services/a%20b/c%252F?address=fd00%3A%3A1&x=a%26b%3Dc");
    }
}
