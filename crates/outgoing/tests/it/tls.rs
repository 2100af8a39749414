//! Who may claim to be a server.

use gristmill_outgoing::{Client, Error, Options, Reach, Request, RootError, Url, Whose};
use gristmill_testkit::Wire;
use gristmill_testkit::wire::answer;

use crate::names::{Names, client, options};

#[test]
fn only_a_server_with_a_certificate_for_its_name_is_believed() {
    let server = Wire::start_tls(|_, _| answer("200 OK", &[], b"private"));
    let port = server.address().port();
    let names = || {
        let names = Names::default().with("tls.test", &["127.0.0.1"]).with("tls.test.", &["127.0.0.1"]);
        names.with("wrong.test", &["127.0.0.1"])
    };
    let ours = client(names(), &["127.0.0.0/8"]);
    let call = |client: &Client, host: &str| {
        let url = Url::https(&format!("https://{host}:{port}/")).expect("an address");
        client.call(&Request::get(url, Whose::Strangers)).map(|response| response.body().to_vec())
    };
    for host in ["tls.test", "TLS.test", "127.0.0.1"] {
        assert_eq!(call(&ours, host).expect("an answer"), b"private", "{host}");
    }
    let strict = Client::new(Options { roots: Vec::new(), ..options(names(), &["127.0.0.0/8"]) });
    for (client, host, part) in [
        (&ours, "wrong.test", "not valid for name"),
        (&strict.expect("a client"), "tls.test", "UnknownIssuer"),
    ] {
        let error = call(client, host).unwrap_err();
        assert!(matches!(error, Error::Tls { .. }) && !error.is_transient(), "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
    }
    let plain = Wire::start(|_, _| answer("200 OK", &[], b""));
    let url = Url::https(&format!("https://{}/", plain.address())).expect("an address");
    let error = ours.call(&Request::get(url, Whose::Operators)).unwrap_err();
    assert!(!error.to_string().is_empty());
    assert_eq!(plain.requests().len(), 0);
}

#[test]
fn no_redirect_leads_out_of_tls() {
    let plain = Wire::start(|_, _| answer("200 OK", &[], b""));
    let target = format!("http://{}/", plain.address());
    let server = Wire::start_tls(move |_, _| answer("302 Found", &[("location", &target)], b""));
    let url = Url::https(&format!("https://{}/", server.address())).expect("an address");
    let client = client(Names::default(), &["127.0.0.0/8"]);
    let error = client.call(&Request::get(url, Whose::Operators).follow(3)).unwrap_err();
    assert!(matches!(error, Error::Downgrade { .. }), "{error}");
    assert_eq!(plain.connections(), 0);
}

#[test]
fn roots_are_certificates() {
    for roots in ["hello", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"] {
        let options = Options { roots: roots.into(), ..Options::new(Reach::strangers(Vec::new()), "x") };
        assert_eq!(Client::new(options).unwrap_err(), RootError, "{roots}");
    }
    let with = client(Names::default(), &[]).roots();
    let options = Options { roots: Vec::new(), ..options(Names::default(), &[]) };
    assert_eq!(with, Client::new(options).expect("a client").roots() + 1);
}
