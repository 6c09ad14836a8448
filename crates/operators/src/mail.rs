//! Mail: a message put together, and sent to a server. The operator uses it, and whoever tells people of
//! failures.

mod server;

use std::{fmt, time::Duration};

use lettre::{
    Message,
    address::{Address, Envelope},
    message::{
        Attachment, Mailbox, MultiPart, SinglePart,
        header::{ContentType, HeaderName, HeaderValue},
    },
    transport::smtp::{
        Error,
        client::AsyncSmtpConnection,
        commands,
        extension::{MailBodyParameter, MailParameter},
    },
};

pub use self::server::{MailServer, Security};

/// A mail.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mail {
    /// Who it comes from: `reports@example.org` or `Reports <reports@example.org>`.
    pub from: String,
    /// To whom.
    pub to: Vec<String>,
    /// Who gets a copy.
    pub cc: Vec<String>,
    /// Who gets a copy that the others don't see.
    pub bcc: Vec<String>,
    /// Its subject.
    pub subject: String,
    /// Its text, as HTML or plain.
    pub body: Body,
    /// Files that go with it.
    pub attachments: Vec<FileAttached>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// What tells it from other mails, without angle brackets: the same for each try to send it, so that a
    /// mail that comes twice is known to be one. See [`message_id`].
    pub message_id: String,
}

/// The text of a [`Mail`].
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// HTML.
    Html(String),
    /// Plain text.
    Text(String),
}

impl Default for Body {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

/// A file that goes with a [`Mail`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileAttached {
    /// Its name there.
    pub name: String,
    /// What is in it.
    pub content: Vec<u8>,
}

/// A mail that was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// It can't be sent as it is, however often: an address that is none, a recipient the server knows
    /// nothing of, a login it refuses.
    #[error("{0}")]
    Permanent(String),
    /// The server could not be reached or is busy, and has not taken it; another try may do.
    #[error("{0}")]
    Temporary(String),
    /// The connection broke, or there was no answer in time, when the mail was on its way: it may have been taken
    /// or not. Sent again, it keeps its `Message-ID`.
    #[error("{0}")]
    Doubt(String),
}

/// A `Message-ID` made of what names the reason for a mail, such as an attempt's id, and of the sender's domain.
pub fn message_id(reason: &str, from: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' };
    let left: String = reason.chars().map(plain).take(150).collect();
    let domain =
        mailbox(from).map_or_else(|_| "localhost".into(), |mailbox| mailbox.email.domain().to_owned());
    format!("{left}@{domain}")
}

/// Takes a list of addresses apart that stands in one text, as Airflow does: at commas and semicolons.
pub fn addresses(list: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut quoted = false;
    for c in list.chars() {
        match c {
            ',' | ';' if !quoted => found.push(String::new()),
            c => {
                quoted ^= c == '"';
                found.last_mut().into_iter().for_each(|last| last.push(c));
            }
        }
    }
    found.iter().map(|address| address.trim().to_owned()).filter(|address| !address.is_empty()).collect()
}

fn mailbox(text: &str) -> Result<Mailbox, MailError> {
    text.trim().parse().map_err(|error| MailError::Permanent(format!("{text:?} is no mail address: {error}")))
}

impl Mail {
    /// The message as it goes over the wire, and its envelope.
    fn build(&self) -> Result<Message, MailError> {
        let permanent = |error: String| MailError::Permanent(error);
        let mut builder = Message::builder()
            .from(mailbox(&self.from)?)
            .subject(&self.subject)
            .message_id(Some(format!("<{}>", self.message_id)));
        for to in &self.to {
            builder = builder.to(mailbox(to)?);
        }
        for cc in &self.cc {
            builder = builder.cc(mailbox(cc)?);
        }
        for bcc in &self.bcc {
            builder = builder.bcc(mailbox(bcc)?);
        }
        for (name, value) in &self.headers {
            let header = HeaderName::new_from_ascii(name.clone())
                .map_err(|_| permanent(format!("{name:?} is no header's name")))?;
            if value.contains(['\r', '\n']) {
                return Err(permanent(format!("the header {name} has a line end in it")));
            }
            builder = builder.raw_header(HeaderValue::new(header, value.clone()));
        }
        let body = match &self.body {
            Body::Html(html) => SinglePart::html(html.clone()),
            Body::Text(text) => SinglePart::plain(text.clone()),
        };
        let message = if self.attachments.is_empty() {
            builder.singlepart(body)
        } else {
            let mut parts = MultiPart::mixed().singlepart(body);
            for file in &self.attachments {
                let kind = ContentType::parse("application/octet-stream")
                    .map_err(|error| permanent(error.to_string()))?;
                parts = parts.singlepart(Attachment::new(file.name.clone()).body(file.content.clone(), kind));
            }
            builder.multipart(parts)
        };
        message.map_err(|error| permanent(format!("the mail can't be put together: {error}")))
    }

    /// Checks that it could be sent: its addresses and headers.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), MailError> {
        self.build().map(drop)
    }
}

/// Whether a text is one mail address.
pub fn is_address(text: &str) -> bool {
    text.parse::<Address>().is_ok()
}

/// Whom a server refused, though it took others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The address.
    pub to: String,
    /// The server's words.
    pub why: String,
    /// Whether another try would not do.
    pub is_for_good: bool,
}

impl Refused {
    /// Whether this is who a mail is to, however that is written: `Ann <ann@example.org>`.
    pub fn is(&self, to: &str) -> bool {
        to.parse::<Mailbox>().is_ok_and(|to| to.email.to_string() == self.to)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.to, self.why)
    }
}

/// Sends a mail. The server has taken it when this is over, for all but those that are returned.
///
/// # Errors
///
/// Whether another try may do, and what the server said.
pub async fn send(server: &MailServer, mail: &Mail) -> Result<Vec<Refused>, MailError> {
    let message = mail.build()?;
    let bytes = message.formatted();
    let (patience, name) = (server.patience(bytes.len()), server.name());
    let told = |error: &Error| format!("{name} did not take the mail: {}", causes(error));
    let not_taken = |error: Error| match error.is_permanent() || error.is_client() {
        true => MailError::Permanent(told(&error)),
        false => MailError::Temporary(told(&error)),
    };
    let offered = async {
        let mut connection = server.connect().await?;
        let refused = offer(&mut connection, message.envelope(), &bytes).await?;
        Ok((connection, refused))
    };
    let (mut connection, refused) = match tokio::time::timeout(patience, offered).await {
        Ok(offered) => offered.map_err(not_taken)?,
        Err(_) => return Err(MailError::Temporary(format!("{name} has not answered within {patience:?}"))),
    };
    // From here on it may have it.
    let sent = tokio::time::timeout(patience, connection.message(&bytes)).await;
    // Whether it hears our goodbye changes nothing any more.
    drop(tokio::time::timeout(GOODBYE, connection.abort()).await);
    match sent {
        Ok(Ok(_)) => Ok(refused),
        Ok(Err(error)) if error.is_permanent() || error.is_transient() || error.is_client() => {
            Err(not_taken(error))
        }
        Ok(Err(error)) => Err(MailError::Doubt(format!(
            "the connection to {name} broke with the mail on its way, and it may have been taken: {}",
            causes(&error)
        ))),
        Err(_) => Err(MailError::Doubt(format!(
            "{name} has not said within {patience:?} that it takes the mail, and may have taken it"
        ))),
    }
}

/// Says who the mail is from and to, until the server waits for the mail itself. Who was refused is returned, where
/// others were not; with nobody left, that is the error.
async fn offer(
    connection: &mut AsyncSmtpConnection,
    envelope: &Envelope,
    bytes: &[u8],
) -> Result<Vec<Refused>, Error> {
    // What these say a server may have to know; one that does not refuses them.
    let mut parameters = Vec::new();
    let addresses = envelope.from().into_iter().chain(envelope.to());
    if addresses.into_iter().any(|address| !AsRef::<str>::as_ref(address).is_ascii()) {
        parameters.push(MailParameter::SmtpUtfEight);
    }
    if !bytes.is_ascii() {
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    connection.command(commands::Mail::new(envelope.from().cloned(), parameters)).await?;
    let (mut refused, mut why) = (Vec::new(), None);
    for to in envelope.to() {
        match connection.command(commands::Rcpt::new(to.clone(), Vec::new())).await {
            Ok(_) => {}
            Err(error) if error.is_permanent() || error.is_transient() => {
                let is_for_good = error.is_permanent();
                refused.push(Refused { to: to.to_string(), why: causes(&error), is_for_good });
                // Where one was refused for now, another try may do.
                if why.as_ref().is_none_or(Error::is_permanent) {
                    why = Some(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    match why {
        Some(error) if refused.len() == envelope.to().len() => Err(error),
        _ => connection.command(commands::Data).await.map(|_| refused),
    }
}

/// Logs in at a server and says goodbye. Where that is.
///
/// # Errors
///
/// What the server said, or that it is not there.
pub async fn log_in(server: &MailServer) -> Result<String, MailError> {
    let (patience, name) = (server.patience(0), server.name());
    let told = |error: &Error| MailError::Temporary(format!("{name} lets nobody in: {}", causes(error)));
    match tokio::time::timeout(patience, server.connect()).await {
        Ok(connected) => {
            let mut connection = connected.map_err(|error| told(&error))?;
            drop(tokio::time::timeout(GOODBYE, connection.quit()).await);
            Ok(format!("{name} lets us in"))
        }
        Err(_) => Err(MailError::Temporary(format!("{name} has not answered within {patience:?}"))),
    }
}

/// So long a server may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

fn causes(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_told = inner.to_string();
        if !told.contains(&inner_told) {
            told = format!("{told}: {inner_told}");
        }
        cause = inner.source();
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail() -> Mail {
        Mail {
            from: "Reports <reports@example.org>".into(),
            to: vec!["ann@example.org".into()],
            subject: "Fünf".into(),
            message_id: "1.0@example.org".into(),
            ..Mail::default()
        }
    }

    fn text(mail: &Mail) -> String {
        String::from_utf8(mail.build().unwrap().formatted()).unwrap()
    }

    #[test]
    fn who_gets_a_blind_copy_is_in_the_envelope_and_not_in_the_message() {
        let mail = Mail { bcc: vec!["eve@example.org".into()], ..mail() };
        assert!(!text(&mail).contains("eve"));
        assert_eq!(mail.build().unwrap().envelope().to().len(), 2);
    }

    #[test]
    fn a_line_end_in_a_header_or_a_subject_makes_no_new_header() {
        let mail_ = Mail { headers: vec![("X-A".into(), "1\r\nBcc: eve@example.org".into())], ..mail() };
        assert!(matches!(mail_.check(), Err(MailError::Permanent(_))));
        let mail_ = Mail { subject: "a\r\nBcc: eve@example.org".into(), ..mail() };
        assert!(!text(&mail_).lines().any(|line| line.starts_with("Bcc:")));
        let mail_ = Mail { to: vec!["a@example.org\r\nBcc: eve@example.org".into()], ..mail() };
        assert!(mail_.check().is_err());
    }

    #[test]
    fn a_message_id_is_made_of_plain_letters_and_the_senders_domain() {
        assert_eq!(
            message_id("1.0.-1.1.1/réports 2026", "R <r@example.org>"),
            "1.0.-1.1.1_r_ports_2026@example.org"
        );
        assert_eq!(message_id("x", "nonsense"), "x@localhost");
        assert!(text(&mail()).contains("Message-ID: <1.0@example.org>"));
    }

    #[test]
    fn a_list_of_addresses_is_taken_apart_as_in_airflow() {
        assert_eq!(addresses("a@x.org, b@x.org;c@x.org ,"), ["a@x.org", "b@x.org", "c@x.org"]);
        assert_eq!(addresses("\"Doe, Ann\" <a@x.org>, b@x.org"), ["\"Doe, Ann\" <a@x.org>", "b@x.org"]);
    }
}
