//! The sources: how each is configured, and what it gives; and what may be wrong with them.

use gristmill_testkit::aws::{CONTAINER_TOKEN, SSO_TOKEN, WEB_IDENTITY};

/// Texts by names: variables of the environment, or files in the folder that is also the home.
pub(super) type Texts = &'static [(&'static str, &'static str)];

/// A source of credentials. `{aws}` is where the fake of Amazon's services is, `{folder}` the program's folder.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub(super) name: &'static str,
    /// Of `[storage]`.
    pub(super) settings: &'static str,
    pub(super) env: Texts,
    pub(super) files: Texts,
    pub(super) from: From,
}

/// What the bucket's calls are signed with.
#[derive(Clone, Copy)]
pub(super) enum From {
    /// These keys: the id, and the session's token, if any.
    Keys(&'static str, Option<&'static str>),
    /// What the fake gave by this call, to who showed this, for these parameters.
    Granted(&'static str, &'static str, Texts),
    /// What another source than the fake gives: the beginning of its ids.
    Others(&'static str),
}

/// Keys in the environment.
pub(super) const ENVIRONMENT: Source = Source {
    name: "environment",
    settings: "",
    env: &[
        ("AWS_ACCESS_KEY_ID", "ASIAENVIRONMENT00001"),
        ("AWS_SECRET_ACCESS_KEY", "secret-environment"),
        ("AWS_SESSION_TOKEN", "token-environment"),
    ],
    files: &[],
    from: From::Keys("ASIAENVIRONMENT00001", Some("token-environment")),
};

/// What is found where nothing is configured, in the order in which it counts.
pub(super) const CHAIN: [Source; 5] = [
    ENVIRONMENT,
    Source {
        name: "shared profile",
        settings: "",
        env: &[],
        files: &[(
            ".aws/credentials",
            "[default]\naws_access_key_id = AKIAPROFILE000000001\naws_secret_access_key = secret-profile\n",
        )],
        from: From::Keys("AKIAPROFILE000000001", None),
    },
    Source {
        name: "web identity",
        settings: "",
        env: &[
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "{folder}/web-identity"),
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pod"),
            ("AWS_ROLE_SESSION_NAME", "mill-pod"),
        ],
        files: &[("web-identity", WEB_IDENTITY)],
        from: From::Granted(
            "AssumeRoleWithWebIdentity",
            WEB_IDENTITY,
            &[("RoleArn", "arn:aws:iam::123456789012:role/pod"), ("RoleSessionName", "mill-pod")],
        ),
    },
    Source {
        name: "container",
        settings: "",
        env: &[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "{aws}/v1/task"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "{folder}/container-token"),
        ],
        files: &[("container-token", CONTAINER_TOKEN)],
        from: From::Granted("container", CONTAINER_TOKEN, &[("path", "/v1/task")]),
    },
    Source {
        name: "instance",
        settings: "",
        env: &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "{aws}")],
        files: &[],
        from: From::Granted(
            "instance",
            "instance-session-token",
            &[("path", "/latest/meta-data/iam/security-credentials/mill-instance")],
        ),
    },
];

pub(super) const BASE: &str =
    "[base]\naws_access_key_id = AKIABASE000000000001\naws_secret_access_key = secret-base\n";
pub(super) const ROLE: Texts = &[
    ("RoleArn", "arn:aws:iam::123456789012:role/mill"),
    ("ExternalId", "acme/42"),
    ("RoleSessionName", "mill-1"),
];
pub(super) const ROLE_SETTINGS: &str = "role_arn = \"arn:aws:iam::123456789012:role/mill\"\nrole_external_id = \"acme/42\"\n\
    role_session_name = \"mill-1\"\n";

/// What is chosen, by a setting or by the environment. Where a setting does, keys lie in the environment besides, and
/// do not count.
pub(super) const CHOSEN: [Source; 12] = [
    Source {
        name: "AWS_PROFILE",
        settings: "",
        env: &[("AWS_PROFILE", "base"), ("AWS_SHARED_CREDENTIALS_FILE", "{folder}/shared")],
        files: &[("shared", BASE)],
        from: From::Keys("AKIABASE000000000001", None),
    },
    Source {
        name: "profile",
        settings: "profile = \"mill\"\n",
        env: ENVIRONMENT.env,
        files: &[(
            ".aws/config",
            "[profile mill]\naws_access_key_id = ASIAMILL000000000001\naws_secret_access_key = secret-mill\n\
             aws_session_token = token-mill\n",
        )],
        from: From::Keys("ASIAMILL000000000001", Some("token-mill")),
    },
    Source {
        name: "credentials_file",
        settings: "credentials_file = \"keys\"\n",
        env: ENVIRONMENT.env,
        files: &[
            (
                "keys",
                "[default]\naws_access_key_id = ASIAFILE000000000001\naws_secret_access_key = secret-file\n\
                 aws_session_token = token-file\n",
            ),
            (".aws/credentials", "[default]\naws_access_key_id = AKIANOT\naws_secret_access_key = not\n"),
        ],
        from: From::Keys("ASIAFILE000000000001", Some("token-file")),
    },
    Source {
        name: "a role of a profile in credentials_file",
        settings: "credentials_file = \"keys\"\nprofile = \"mill\"\n",
        env: ENVIRONMENT.env,
        files: &[(
            "keys",
            "[base]\naws_access_key_id = AKIABASE000000000001\naws_secret_access_key = secret-base\n[mill]\n\
             role_arn = arn:aws:iam::123456789012:role/mill\nsource_profile = base\nexternal_id = acme/42\n\
             role_session_name = mill-1\n",
        )],
        from: From::Granted("AssumeRole", "AKIABASE000000000001", ROLE),
    },
    Source {
        name: "a role of a profile",
        settings: "profile = \"mill\"\n",
        env: &[("AWS_CONFIG_FILE", "{folder}/configured")],
        files: &[
            (".aws/credentials", BASE),
            (
                "configured",
                "[profile mill]\nrole_arn = arn:aws:iam::123456789012:role/mill\nsource_profile = base\n\
                 external_id = acme/42\nrole_session_name = mill-1\n",
            ),
        ],
        from: From::Granted("AssumeRole", "AKIABASE000000000001", ROLE),
    },
    Source {
        name: "a role of a profile, with the container's credentials",
        settings: "profile = \"mill\"\n",
        env: &[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "{aws}/v1/task"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER_TOKEN),
        ],
        files: &[(
            ".aws/config",
            "[profile mill]\nrole_arn = arn:aws:iam::123456789012:role/mill\ncredential_source = EcsContainer\n\
             external_id = acme/42\nrole_session_name = mill-1\n",
        )],
        from: From::Granted("AssumeRole", "container", ROLE),
    },
    Source {
        name: "web identity of a profile",
        settings: "profile = \"mill\"\n",
        env: &[],
        files: &[
            ("web-identity", WEB_IDENTITY),
            (
                ".aws/config",
                "[profile mill]\nrole_arn = arn:aws:iam::123456789012:role/mill\n\
                 web_identity_token_file = {folder}/web-identity\nrole_session_name = mill-1\n",
            ),
        ],
        from: From::Granted("AssumeRoleWithWebIdentity", WEB_IDENTITY, &[ROLE[0], ROLE[2]]),
    },
    Source {
        name: "SSO",
        settings: "profile = \"mill\"\n",
        env: &[],
        files: &[
            (
                ".aws/config",
                "[profile mill]\nsso_start_url = https://acme.awsapps.com/start\nsso_region = eu-west-1\n\
                 sso_account_id = 123456789012\nsso_role_name = Mill\n",
            ),
            // Its name is the SHA-1 of the start's URL.
            (
                ".aws/sso/cache/40169cea58ca6cbf23fb27b2542923fb5f524af0.json",
                "{\"startUrl\": \"https://acme.awsapps.com/start\", \"region\": \"eu-west-1\", \
                 \"accessToken\": \"sso-access-token\", \"expiresAt\": \"2099-01-01T00:00:00Z\"}",
            ),
        ],
        from: From::Granted(
            "GetRoleCredentials",
            SSO_TOKEN,
            &[("account_id", "123456789012"), ("role_name", "Mill")],
        ),
    },
    Source {
        name: "a session of SSO that has ended and is renewed",
        settings: "profile = \"mill\"\n",
        env: &[],
        files: &[
            (
                ".aws/config",
                "[profile mill]\nsso_session = acme\nsso_account_id = 123456789012\nsso_role_name = Mill\n\
                 [sso-session acme]\nsso_start_url = https://acme.awsapps.com/start\nsso_region = eu-west-1\n\
                 sso_registration_scopes = sso:account:access\n",
            ),
            // Its name is the SHA-1 of the session's.
            (
                ".aws/sso/cache/293abb6b76d7791c0732cc517d38c4b5c734b87f.json",
                "{\"startUrl\": \"https://acme.awsapps.com/start\", \"region\": \"eu-west-1\", \
                 \"accessToken\": \"sso-token-of-yesterday\", \"expiresAt\": \"2024-01-01T00:00:00Z\", \
                 \"clientId\": \"mill\", \"clientSecret\": \"secret-client\", \
                 \"registrationExpiresAt\": \"2099-01-01T00:00:00Z\", \"refreshToken\": \"sso-refresh-token\"}",
            ),
        ],
        from: From::Granted(
            "GetRoleCredentials",
            SSO_TOKEN,
            &[("account_id", "123456789012"), ("role_name", "Mill")],
        ),
    },
    Source {
        name: "credential_process",
        settings: "profile = \"mill\"\n",
        env: &[],
        files: &[
            (".aws/config", "[profile mill]\ncredential_process = /bin/sh \"{folder}/give\"\n"),
            (
                "give",
                "echo asked >> \"{folder}/asked\"\ncount=$(grep -c . \"{folder}/asked\")\nends='+4 seconds'\n\
                 [ \"$count\" -gt 2 ] && ends='+1 hour'\n\
                 printf '{\"Version\": 1, \"AccessKeyId\": \"ASIAPROCESS%09d\", \"SecretAccessKey\": \"secret\", \
                 \"SessionToken\": \"token\", \"Expiration\": \"%s\"}' \"$count\" \
                 \"$(date -u -d \"$ends\" +%Y-%m-%dT%H:%M:%SZ)\"\n",
            ),
        ],
        from: From::Others("ASIAPROCESS"),
    },
    Source {
        name: "role_arn",
        settings: ROLE_SETTINGS,
        env: ENVIRONMENT.env,
        files: &[],
        from: From::Granted("AssumeRole", "ASIAENVIRONMENT00001", ROLE),
    },
    Source {
        name: "role_arn with a profile",
        settings: "profile = \"base\"\nrole_arn = \"arn:aws:iam::123456789012:role/mill\"\n",
        env: ENVIRONMENT.env,
        files: &[(".aws/credentials", BASE)],
        from: From::Granted(
            "AssumeRole",
            "AKIABASE000000000001",
            &[ROLE[0], ("RoleSessionName", "gristmill")],
        ),
    },
];
pub(super) const NO_INSTANCE: (&str, &str) = ("AWS_EC2_METADATA_DISABLED", "true");

/// What is wrong, with which settings, environment and files, and what is said of it.
pub(super) const BROKEN: [(&str, &str, Texts, Texts, &[&str]); 9] = [
    ("nothing", "", &[NO_INSTANCE], &[], &["no credentials to sign with", "docs/storage.md"]),
    ("no such profile", "profile = \"mill\"\n", ENVIRONMENT.env, &[], &["the profile `mill` is not in"]),
    ("no such file", "credentials_file = \"keys\"\n", ENVIRONMENT.env, &[], &["could not read", "/keys"]),
    (
        "no keys in the file",
        "credentials_file = \"keys\"\n",
        ENVIRONMENT.env,
        &[("keys", BASE)],
        &["no profile `default`"],
    ),
    (
        "a session of SSO that has ended",
        "profile = \"mill\"\n",
        &[],
        &[
            CHOSEN[8].files[0],
            (
                CHOSEN[8].files[1].0,
                "{\"accessToken\": \"sso-token-of-yesterday\", \"expiresAt\": \"2024-01-01T00:00:00Z\"}",
            ),
        ],
        &["expired"],
    ),
    (
        "a token that STS does not take",
        "",
        CHAIN[2].env,
        &[("web-identity", "a-token-of-somebody-else")],
        &["InvalidIdentityToken"],
    ),
    (
        "a container that may not",
        "",
        &[CHAIN[3].env[0], ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "wrong")],
        &[],
        &["StatusCode(401)"],
    ),
    (
        "a container elsewhere",
        "",
        &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/")],
        &[],
        &["did not refer to an allowed IP address"],
    ),
    (
        "a program that does not say",
        "profile = \"mill\"\n",
        &[],
        &[(".aws/config", "[profile mill]\ncredential_process = /bin/false\n")],
        &["external process exited"],
    ),
];
