-- Runs once, as the superuser, when PostgreSQL starts on an empty volume. user-api owns its database and nothing else.
\getenv password USER_API_DATABASE_PASSWORD
CREATE ROLE user_api LOGIN PASSWORD :'password';
-- The details of errors contain personal data, which must not be in the server's log.
ALTER ROLE user_api SET log_error_verbosity = 'terse';
CREATE DATABASE user_api OWNER user_api;
REVOKE ALL ON DATABASE user_api FROM PUBLIC;
