//! Answers that go to a file, and files that are sent.

use std::path::PathBuf;

use reqwest::StatusCode;

use crate::{
    Files, Refused,
    operators::{
        http::{
            client::{Answer, Client, Longest, Patience, Unanswered},
            request::Request,
        },
        local::{Incoming, outgoing},
    },
    prepare::Job,
    work::TaskContext,
};

/// What goes by files of this machine.
#[derive(Debug)]
pub(super) struct ByFile {
    /// The body.
    from: Option<PathBuf>,
    /// The answer.
    pub(super) to: Option<PathBuf>,
    files: Files,
    mark: String,
}

impl ByFile {
    /// What goes by files, where anything does.
    pub(super) fn of(job: &Job<'_>, from: Option<&str>, to: Option<&str>) -> Result<Option<Self>, Refused> {
        if from.is_none() && to.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            from: from.map(|path| job.found(path)).transpose()?,
            to: to.map(|path| job.written(path)).transpose()?,
            files: job.host.files()?.clone(),
            mark: job.mark(),
        }))
    }

    /// Asks. An answer of a good status is in the file when this is over, and has no body any more.
    pub(super) async fn ask(
        &self,
        http: &Client,
        request: &Request,
        longest: Longest,
        is_good: impl Fn(StatusCode) -> bool,
        context: &TaskContext,
    ) -> Result<Answer, Unanswered> {
        let lasting = Unanswered::lasting;
        let upload = match &self.from {
            None => None,
            Some(path) => {
                let file = outgoing(&self.files, path).await.map_err(lasting)?;
                let length = file.metadata().await.map_err(|error| lasting(error.to_string()))?.len();
                context.log.line(&format!("sending {length} bytes of {}", path.display()));
                Some((file, length))
            }
        };
        let coming = http.begin(request, upload, Patience::EachPart).await?;
        let status = coming.status();
        if self.from.is_some() && status.is_redirection() {
            let shown = &request.shown;
            return Err(lasting(format!(
                "{shown} gave {}: a file is not sent on. Name the address that it leads to",
                status.as_u16()
            )));
        }
        match &self.to {
            Some(path) if is_good(status) => {
                let incoming = Incoming::begin(&self.files, path, &self.mark, false).await;
                let mut incoming = incoming.map_err(lasting)?;
                let (answer, bytes) = coming.write(&mut incoming.file).await?;
                incoming.finish().await.map_err(lasting)?;
                context.log.line(&format!("{bytes} bytes are in {}", path.display()));
                Ok(answer)
            }
            _ => coming.read(longest).await,
        }
    }
}
